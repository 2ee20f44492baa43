//! Files from the network: whole, checked, or not at all.

use super::origin::Checksum;
use crate::error::{Context, Error, Result, ensure};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

/// Nothing for so long ends a download; it goes on where it stood when it is asked for again.
const PATIENCE: Duration = Duration::from_secs(60);
/// No data set that is known here is larger.
const LARGEST: u64 = 4 << 30;

/// Brings `url` to `path`. What was downloaded before stays beside it as `….part` until it is whole, and another attempt
/// goes on from there; `path` appears when the checksum is right.
///
/// # Errors
/// When the server cannot be reached or refuses, the connection breaks, the file does not have this checksum, or it
/// cannot be written.
pub(super) fn download(url: &str, path: &Path, checksum: Checksum) -> Result<()> {
    let get = || {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let io = |source| Error::io(&part, source);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&part).map_err(io)?;
        // Another process that wants the same file waits here, and then finds it.
        file.lock().map_err(io)?;
        if path.is_file() {
            return Ok(());
        }
        let begun = file.seek(SeekFrom::End(0)).map_err(io)?;
        receive(url, &mut file, begun, &part, PATIENCE)?;
        let mut found = sum(&mut file, checksum).map_err(io)?;
        if begun > 0 && !checksum.is(&found) {
            // What was there before may have been of another file.
            file.set_len(0).map_err(io)?;
            receive(url, &mut file, 0, &part, PATIENCE)?;
            found = sum(&mut file, checksum).map_err(io)?;
        }
        if !checksum.is(&found) {
            // Emptied, not removed: another process may wait for the lock of this very file.
            let _ = file.set_len(0);
            return Err(Error::Format(format!(
                "what came has the checksum {found}, expected {}; the file there has changed",
                checksum.text()
            )));
        }
        file.sync_all().map_err(io)?;
        fs::rename(&part, path).map_err(|source| Error::io(path, source))
    };
    get().at(|| format!("download of {url}"))
}

/// Appends what is missing after the first `begun` bytes. A server that says nothing for longer than `patience` is left.
fn receive(url: &str, file: &mut File, begun: u64, part: &Path, patience: Duration) -> Result<()> {
    let io = |source| Error::io(part, source);
    let failed = |error: ureq::Error| Error::Data(format!("{error}; it can be tried again and goes on where it stood"));
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(patience))
        .timeout_recv_response(Some(patience))
        // The body has no time of its own, as nobody knows how large it is: each read of it has.
        .timeout_per_read(Some(patience))
        .build();
    let mut request = ureq::Agent::from(config).get(url);
    if begun > 0 {
        request = request.header("Range", format!("bytes={begun}-"));
    }
    let response = request.call().map_err(failed)?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let start = match response.status().as_u16() {
        200 => 0,
        // All of it is there; the checksum tells.
        416 if begun > 0 => return Ok(()),
        206 => {
            let range = header("content-range").unwrap_or_default();
            let from = range.strip_prefix("bytes ").and_then(|range| range.split('-').next()?.parse().ok());
            ensure!(from == Some(begun), Data, "the server gave the range '{range}', asked for was {begun}-");
            begun
        }
        status => return Err(Error::Data(format!("the server answered with status {status}"))),
    };
    let length = header("content-length").and_then(|length| length.parse::<u64>().ok());
    let total = length.map(|length| start.saturating_add(length));
    ensure!(total.is_none_or(|total| total <= LARGEST), Data, "the server announces {} bytes", total.unwrap_or(0));
    file.set_len(start).map_err(io)?;
    file.seek(SeekFrom::Start(start)).map_err(io)?;

    let mut bar = Bar::new(url, start, total);
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    let mut at = start;
    loop {
        let n = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Error::Data(format!(
                    "the connection broke after {at} bytes: {error}; it can be tried again and goes on there"
                )));
            }
        };
        at += n as u64;
        ensure!(at <= LARGEST, Data, "the server sends more than {LARGEST} bytes");
        file.write_all(&buffer[..n]).map_err(io)?;
        bar.at(at);
    }
    ensure!(
        total.is_none_or(|total| at == total),
        Data,
        "the connection ended after {at} of {} bytes; it can be tried again and goes on there",
        total.unwrap_or(0)
    );
    bar.end();
    Ok(())
}

impl Checksum {
    fn text(self) -> &'static str {
        match self {
            Checksum::Md5(text) | Checksum::Sha256(text) => text,
        }
    }

    fn is(self, found: &str) -> bool {
        self.text().eq_ignore_ascii_case(found)
    }
}

/// The checksum of this kind of all that is in a file.
fn sum(file: &mut File, kind: Checksum) -> io::Result<String> {
    fn of<D: Digest>(file: &mut File) -> io::Result<String> {
        let mut digest = D::new();
        let mut buffer = vec![0; 1 << 16];
        file.seek(SeekFrom::Start(0))?;
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
                n => digest.update(&buffer[..n]),
            }
        }
    }
    match kind {
        Checksum::Md5(_) => of::<Md5>(file),
        Checksum::Sha256(_) => of::<Sha256>(file),
    }
}

/// How far a download is: a bar in a terminal, elsewhere one line.
struct Bar {
    #[cfg(feature = "progress")]
    bar: Option<indicatif::ProgressBar>,
}

impl Bar {
    fn new(url: &str, start: u64, total: Option<u64>) -> Self {
        #[cfg(feature = "progress")]
        if !indicatif::ProgressDrawTarget::stderr().is_hidden() {
            let bar = total.map_or_else(indicatif::ProgressBar::no_length, indicatif::ProgressBar::new);
            let template = "{msg} {bar:20} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
            if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━━─"));
            }
            bar.set_message(url.rsplit('/').next().unwrap_or(url).to_owned());
            bar.set_position(start);
            return Bar { bar: Some(bar) };
        }
        let size = total.map_or_else(String::new, |total| format!(" ({:.1} MB)", total as f64 / 1e6));
        let again = if start > 0 { format!(", from byte {start}") } else { String::new() };
        let _ = writeln!(io::stderr(), "Downloading {url}{size}{again}");
        Bar {
            #[cfg(feature = "progress")]
            bar: None,
        }
    }

    #[cfg_attr(not(feature = "progress"), allow(unused_variables, clippy::unused_self))]
    fn at(&mut self, position: u64) {
        #[cfg(feature = "progress")]
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
    }

    fn end(self) {
        #[cfg(feature = "progress")]
        if let Some(bar) = self.bar {
            bar.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    const CONTENT: &[u8] = b"forty-two bytes of a data set, more or less";
    const MD5: Checksum = Checksum::Md5("6b9b63dfbef3e72bac652d5e7e2e9bb6");
    const SHA256: Checksum = Checksum::Sha256("766813d24b37171b78fa55d84582e1a87afc24fddd21a06852841bf8d66273db");

    /// What the server does with a request that starts at a byte: the head of its answer, its body.
    type Answer = fn(start: Option<usize>) -> (String, Vec<u8>);

    /// A server on the loopback address, and the ranges that it was asked for.
    fn serve(answers: Vec<Answer>) -> (String, Arc<Mutex<Vec<Option<usize>>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/file.bin", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let list = asked.clone();
        std::thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                let range = request(&stream);
                list.lock().unwrap().push(range);
                let (head, body) = answer(range);
                let mut stream = stream;
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            }
        });
        (url, asked)
    }

    fn request(stream: &TcpStream) -> Option<usize> {
        let mut range = None;
        for line in BufReader::new(stream).lines() {
            let line = line.unwrap().to_lowercase();
            if let Some(value) = line.strip_prefix("range: bytes=") {
                range = value.trim_end_matches('-').parse().ok();
            }
            if line.is_empty() {
                break;
            }
        }
        range
    }

    fn whole(_: Option<usize>) -> (String, Vec<u8>) {
        (format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", CONTENT.len()), CONTENT.to_vec())
    }

    /// Promises all and closes half way.
    fn broken(_: Option<usize>) -> (String, Vec<u8>) {
        (whole(None).0, CONTENT[..20].to_vec())
    }

    fn rest(start: Option<usize>) -> (String, Vec<u8>) {
        let Some(start) = start else { return whole(None) };
        let body = CONTENT[start..].to_vec();
        let range = format!("bytes {start}-{}/{}", CONTENT.len() - 1, CONTENT.len());
        let length = body.len();
        (
            format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: {range}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            ),
            body,
        )
    }

    fn another(_: Option<usize>) -> (String, Vec<u8>) {
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n".to_owned(), b"other".to_vec())
    }

    fn missing(_: Option<usize>) -> (String, Vec<u8>) {
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(), Vec::new())
    }

    fn huge(_: Option<usize>) -> (String, Vec<u8>) {
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\nConnection: close\r\n\r\n".to_owned(), Vec::new())
    }

    fn moved(_: Option<usize>) -> (String, Vec<u8>) {
        (
            "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
            Vec::new(),
        )
    }

    fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("file.bin");
        let part = path.with_file_name("file.bin.part");
        (folder, path, part)
    }

    #[test]
    fn a_file_appears_whole_and_checked() {
        for checksum in [MD5, SHA256] {
            let (_folder, path, part) = place();
            let (url, _) = serve(vec![moved, whole]);
            download(&url, &path, checksum).unwrap();
            assert_eq!((fs::read(&path).unwrap(), part.exists()), (CONTENT.to_vec(), false));
            // Who comes later asks nobody.
            download("http://127.0.0.1:1/none", &path, checksum).unwrap();
        }
    }

    #[test]
    fn a_download_that_broke_goes_on_where_it_stood() {
        let (_folder, path, part) = place();
        let (url, asked) = serve(vec![broken, rest]);
        let error = download(&url, &path, SHA256).unwrap_err().to_string();
        assert!(error.contains("file.bin") && error.contains("goes on there"), "{error}");
        assert_eq!((path.exists(), fs::read(&part).unwrap()), (false, CONTENT[..20].to_vec()));
        download(&url, &path, SHA256).unwrap();
        assert_eq!(fs::read(&path).unwrap(), CONTENT);
        assert_eq!(*asked.lock().unwrap(), [None, Some(20)]);
        // A server that knows no ranges begins anew; so does one whose file was another.
        for (answers, before) in [(vec![whole as Answer], &CONTENT[..7]), (vec![rest, whole], b"foreign")] {
            let (_folder, path, part) = place();
            fs::create_dir_all(part.parent().unwrap()).unwrap();
            fs::write(&part, before).unwrap();
            let (url, _) = serve(answers);
            download(&url, &path, SHA256).unwrap();
            assert_eq!(fs::read(&path).unwrap(), CONTENT);
        }
    }

    #[test]
    fn what_is_wrong_is_never_kept() {
        for (answers, text) in
            [(vec![another as Answer], "checksum"), (vec![missing], "status 404"), (vec![huge], "announces")]
        {
            let (_folder, path, _) = place();
            let (url, _) = serve(answers);
            let error = download(&url, &path, SHA256).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(&url), "{error}");
            assert!(!path.exists());
        }
        let (_folder, path, part) = place();
        let (url, _) = serve(vec![another]);
        assert!(download(&url, &path, MD5).is_err());
        assert_eq!(fs::metadata(&part).unwrap().len(), 0);
        assert!(download("http://127.0.0.1:1/none", &path, MD5).is_err());
        // Nothing of it is gone on from.
        let (url, asked) = serve(vec![whole]);
        download(&url, &path, MD5).unwrap();
        assert_eq!((fs::read(&path).unwrap(), asked.lock().unwrap().clone()), (CONTENT.to_vec(), vec![None]));
    }

    #[test]
    fn a_server_that_falls_silent_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/file.bin", listener.local_addr().unwrap());
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            request(&stream);
            let (head, body) = broken(None);
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).unwrap();
            // The connection stays open and nothing more comes.
            wait.recv_timeout(Duration::from_secs(30)).unwrap_err()
        });
        let mut file = tempfile::tempfile().unwrap();
        let received = receive(&url, &mut file, 0, Path::new("part"), Duration::from_secs(2));
        drop(done);
        let error = received.unwrap_err().to_string();
        assert!(error.contains("after 20 bytes"), "{error}");
        // The client left first, not the server.
        assert_eq!(server.join().unwrap(), std::sync::mpsc::RecvTimeoutError::Disconnected);
    }
}
