//! Gamma and beta, which most normalizations end with.

/// The builder methods of a layer with `gamma` and `beta`.
macro_rules! affine_builders {
    () => {
        /// What is added to the variance, positive. Default: 1e-3.
        pub fn epsilon(mut self, epsilon: f64) -> Self {
            self.epsilon = epsilon;
            self
        }

        /// Whether beta is added. Default: true.
        pub fn center(mut self, center: bool) -> Self {
            self.center = center;
            self
        }

        /// Whether gamma is multiplied. Default: true.
        pub fn scale(mut self, scale: bool) -> Self {
            self.scale = scale;
            self
        }

        /// How beta starts. Default: `zeros`.
        pub fn beta_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
            self.beta_initializer = initializer.into();
            self
        }

        /// How gamma starts. Default: `ones`.
        pub fn gamma_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
            self.gamma_initializer = initializer.into();
            self
        }

        /// The penalty on beta. Default: none.
        pub fn beta_regularizer(mut self, regularizer: impl Into<Shared<dyn Regularizer>>) -> Self {
            self.beta_regularizer = Some(regularizer.into());
            self
        }

        /// The penalty on gamma. Default: none.
        pub fn gamma_regularizer(mut self, regularizer: impl Into<Shared<dyn Regularizer>>) -> Self {
            self.gamma_regularizer = Some(regularizer.into());
            self
        }

        /// What beta is brought back to after each step. Default: nothing.
        pub fn beta_constraint(mut self, constraint: impl Into<Shared<dyn Constraint>>) -> Self {
            self.beta_constraint = Some(constraint.into());
            self
        }

        /// What gamma is brought back to after each step. Default: nothing.
        pub fn gamma_constraint(mut self, constraint: impl Into<Shared<dyn Constraint>>) -> Self {
            self.gamma_constraint = Some(constraint.into());
            self
        }

        /// Makes gamma and beta, as far as there are any.
        fn build_affine(&mut self, shape: &[usize], cx: &mut Build) -> Result<()> {
            let (gamma, beta) = (&self.gamma_initializer, &self.beta_initializer);
            let gamma = || cx.weight("gamma", shape, gamma, &self.gamma_regularizer, &self.gamma_constraint);
            self.gamma = self.scale.then(gamma).transpose()?;
            let beta = || cx.weight("beta", shape, beta, &self.beta_regularizer, &self.beta_constraint);
            self.beta = self.center.then(beta).transpose()?;
            Ok(())
        }

        fn check_epsilon(&self) -> Result<()> {
            let epsilon = self.epsilon;
            ensure!(
                epsilon.is_finite() && epsilon > 0.0,
                Argument,
                "epsilon is {epsilon}; it must be a number above 0"
            );
            Ok(())
        }
    };
}
pub(super) use affine_builders;
