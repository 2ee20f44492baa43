//! Functions between layers: relu, softmax, ….
