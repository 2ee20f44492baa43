//! Sends the logs of each epoch to a server.

use super::Callback;
use crate::error::{Result, ensure};
use crate::model::Model;
use crate::training::Logs;
use serde_json::{Map, Value};
use std::time::Duration;

const NAME: &str = "RemoteMonitor";

/// Sends the number of each epoch, counted from 0, and its logs to a server (Keras: `RemoteMonitor`), as a JSON object:
/// the field `data` of a form, or the whole body with [`send_as_json`](Self::send_as_json). With the feature `download`.
///
/// A server that cannot be reached, does not answer within ten seconds or refuses is no reason to end training: that is
/// said, and the next epoch tries again. NaN and infinities, which JSON lacks, are null.
///
/// ```
/// use cornu::prelude::*;
/// use cornu::training::callbacks::RemoteMonitor;
/// let monitor = RemoteMonitor::new("http://localhost:9000").path("/publish/epoch/end/").send_as_json(true);
/// let options = Fit::new().epochs(90).callback(monitor);
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
pub struct RemoteMonitor {
    root: String,
    path: String,
    field: String,
    headers: Vec<(String, String)>,
    send_as_json: bool,
}

impl RemoteMonitor {
    /// Sends to the server of this address: `"http://localhost:9000"`.
    pub fn new(root: impl Into<String>) -> Self {
        RemoteMonitor {
            root: root.into(),
            path: "/publish/epoch/end/".to_owned(),
            field: "data".to_owned(),
            headers: Vec::new(),
            send_as_json: false,
        }
    }

    /// What follows the address of the server. Default: `/publish/epoch/end/`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The field of the form that holds the JSON. Default: `data`.
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// Sends this header, too.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Whether to send the JSON alone, as `application/json`, and not a form. Default: no.
    pub fn send_as_json(mut self, json: bool) -> Self {
        self.send_as_json = json;
        self
    }

    fn send(&self, json: &str) -> std::result::Result<(), String> {
        let patience = Some(Duration::from_secs(10));
        let config = ureq::Agent::config_builder().timeout_global(patience).build();
        let mut request = ureq::Agent::from(config).post(format!("{}{}", self.root, self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let sent = match self.send_as_json {
            true => request.header("Content-Type", "application/json").send(json),
            false => request.header("Content-Type", "application/x-www-form-urlencoded").send(format!(
                "{}={}",
                escaped(&self.field),
                escaped(json)
            )),
        };
        sent.map(drop).map_err(|error| error.to_string())
    }
}

/// Text as a form holds it.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn json(epoch: usize, logs: &Logs) -> String {
    let value = |values: &[f64]| match values {
        [one] => Value::from(*one),
        list => list.into(),
    };
    let mut object = Map::new();
    object.insert("epoch".to_owned(), epoch.into());
    object.extend(logs.iter().map(|(name, values)| (name.to_owned(), value(values))));
    Value::Object(object).to_string()
}

impl Callback for RemoteMonitor {
    fn on_train_begin(&mut self, _model: &mut Model) -> Result<()> {
        let known = ["http://", "https://"].iter().any(|scheme| self.root.starts_with(scheme));
        ensure!(known, Argument, "{NAME}: '{}' is no address of a server; write http://localhost:9000", self.root);
        Ok(())
    }

    fn on_epoch_end(&mut self, _model: &mut Model, epoch: usize, logs: &mut Logs) -> Result<()> {
        if let Err(reason) = self.send(&json(epoch, logs)) {
            eprintln!("cornu: {NAME} could not reach '{}': {reason}", self.root);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// What a server is sent that answers once.
    fn sent(set: impl FnOnce(RemoteMonitor) -> RemoteMonitor) -> String {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let root = format!("http://{}", server.local_addr().unwrap());
        let heard = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let (mut text, mut part) = (String::new(), [0; 4096]);
            while !text.ends_with('}') && !text.ends_with("%7D") {
                let n = stream.read(&mut part).unwrap();
                assert!(n > 0, "{text}");
                text += std::str::from_utf8(&part[..n]).unwrap();
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            text
        });
        let (mut logs, mut model) = (Logs::new(), Model::empty("m"));
        logs.insert("loss", 0.5);
        logs.insert("accuracy", f64::NAN);
        let mut monitor = set(RemoteMonitor::new(root));
        monitor.on_train_begin(&mut model).unwrap();
        monitor.on_epoch_end(&mut model, 3, &mut logs).unwrap();
        heard.join().unwrap()
    }

    #[test]
    fn a_server_gets_a_form_or_json() {
        let form = sent(|m| m.header("X-Key", "secret"));
        assert!(form.starts_with("POST /publish/epoch/end/ HTTP/1.1\r\n"), "{form}");
        assert!(form.to_lowercase().contains("x-key: secret"), "{form}");
        let body = "data=%7B%22epoch%22%3A3%2C%22loss%22%3A0.5%2C%22accuracy%22%3Anull%7D";
        let unordered = "data=%7B%22accuracy%22%3Anull%2C%22epoch%22%3A3%2C%22loss%22%3A0.5%7D";
        assert!(form.ends_with(body) || form.ends_with(unordered), "{form}");
        let json = sent(|m| m.path("/here").send_as_json(true));
        assert!(json.starts_with("POST /here ") && json.to_lowercase().contains("application/json"), "{json}");
        let body = json.split("\r\n\r\n").nth(1).unwrap();
        assert_eq!(body.parse::<Value>().unwrap(), serde_json::json!({"epoch": 3, "loss": 0.5, "accuracy": null}));
    }

    #[test]
    fn a_server_that_is_not_there_does_not_end_training() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut monitor = RemoteMonitor::new(format!("http://{address}"));
        monitor.on_epoch_end(&mut Model::empty("m"), 0, &mut Logs::new()).unwrap();
        let error = RemoteMonitor::new("localhost:9000").on_train_begin(&mut Model::empty("m")).unwrap_err();
        assert!(error.to_string().contains("no address"));
    }
}
