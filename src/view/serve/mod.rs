//! `djr view`: a page with a slider for each bound, served to a browser on this machine.
//!
//! The server listens on the loopback address alone. Every request must name it as the page does
//! (so that no other site's name can stand for it), must come from the page if it says where from,
//! and must know the random token in the address; whoever does not gets no word of the data.

mod answers;
mod chart;
pub mod http;
mod page;
mod recipe;
mod rows;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::de::DeserializeOwned;

use self::answers::{Asked, Facts};
use self::chart::Chart;
use self::http::{Request, Response};
use self::rows::{Clusters, Finder};
use crate::analysis::live::Live;
use crate::analysis::recut::RecutError;
use crate::op::Peers;

/// So many requests are answered at a time.
const AT_A_TIME: usize = 32;

/// How often the server looks whether it is to end, in nanoseconds.
const LOOK: i64 = 200_000_000;

/// What is looked at.
pub struct Viewer {
    live: Live,
    title: String,
    charts: Vec<Chart>,
    finder: Finder,
    clusters: Clusters,
    /// Where recipes are written.
    directory: PathBuf,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its bounds cannot be moved.
    #[error(transparent)]
    Recut(#[from] RecutError),
    /// The port is taken, or no port is to be had.
    #[error("127.0.0.1:{port}: {error}")]
    Listen {
        /// The port; 0 stands for any.
        port: u16,
        /// What the system said.
        error: io::Error,
    },
}

impl Viewer {
    /// The analysis or run at `path`; recipes will be written to `directory`.
    ///
    /// # Errors
    /// Whatever keeps `djr recut` from recutting it.
    pub fn open(
        path: &Path,
        directory: &Path,
        peers: Option<Rc<dyn Peers>>,
    ) -> Result<Self, RecutError> {
        let live = Live::open(path, peers)?;
        let viewer = Self {
            title: path.file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
            charts: chart::charts(&live),
            finder: Finder::of(&live),
            clusters: Clusters::of(&live, path)?,
            directory: directory.to_owned(),
            live,
        };
        // What each bound leaves by itself is kept from here on, so that the page need not wait for it.
        let _ = viewer.cut(&Asked::default());
        Ok(viewer)
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.live.rows() as u64
    }

    /// The answer to a request for `path`, which begins behind the token.
    fn answer(&self, request: &Request, path: &str) -> Response {
        match (request.method.as_str(), path) {
            ("GET", "") => page::page(&self.title),
            ("GET", "facts") => json(&Facts::of(self)),
            ("POST", "cut") => self.asked(request, Self::cut),
            ("POST", "near") => self.asked(request, Self::near),
            ("POST", "rows") => self.asked(request, Self::rows_of),
            ("POST", "clusters") => self.asked(request, Self::clusters),
            ("POST", "recipe") => self.asked(request, Self::recipe),
            ("POST", "write") => self.asked(request, Self::write),
            ("GET" | "POST", _) => Response::refusal(404),
            _ => Response::refusal(405),
        }
    }

    fn asked<A: serde::Serialize>(
        &self,
        request: &Request,
        answer: impl Fn(&Self, &Asked) -> Result<A, String>,
    ) -> Response {
        // Another site could send a form without asking this server first, but never this type.
        if !request.content_type.starts_with("application/json") {
            return Response::refusal(415);
        }
        let Some(asked) = parsed::<Asked>(&request.body) else {
            return Response::refusal(400);
        };
        match answer(self, &asked) {
            Ok(answer) => json(&answer),
            Err(problem) => Response {
                status: 409,
                ..json(&serde_json::json!({ "problem": problem }))
            },
        }
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

fn json(answer: &impl serde::Serialize) -> Response {
    serde_json::to_vec(answer).map_or_else(|_| Response::refusal(500), Response::json)
}

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    port: u16,
    token: String,
}

impl Server {
    /// Listens on the loopback address, on a port of the system's choice if it is 0.
    ///
    /// # Errors
    /// If the port cannot be had, or the system has no random numbers.
    pub fn listen(port: u16) -> Result<Self, ServeError> {
        let failed = |error| ServeError::Listen { port, error };
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let listener = listener.map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            port: listener.local_addr().map_err(failed)?.port(),
            listener,
            token: random().map_err(failed)?,
        })
    }

    /// The address of the page.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/{}/", self.port, self.token)
    }

    /// Answers until `stop` is set.
    ///
    /// # Errors
    /// If the system takes the port away.
    pub fn serve(&self, viewer: &Viewer, stop: &AtomicBool) -> Result<(), ServeError> {
        let failed = |error: io::Error| ServeError::Listen {
            port: self.port,
            error,
        };
        let busy = AtomicUsize::new(0);
        let pause = Timespec {
            tv_sec: 0,
            tv_nsec: LOOK,
        };
        std::thread::scope(|scope| {
            while !stop.load(Ordering::Relaxed) {
                let mut waiting = [PollFd::new(&self.listener, PollFlags::IN)];
                match poll(&mut waiting, Some(&pause)) {
                    Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                    Ok(_) => {}
                    Err(error) => return Err(failed(error.into())),
                }
                // A browser that went away again is no matter.
                let Ok((stream, _)) = self.listener.accept() else {
                    continue;
                };
                if busy.fetch_add(1, Ordering::Relaxed) >= AT_A_TIME {
                    busy.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let busy = &busy;
                scope.spawn(move || {
                    self.attend(viewer, &stream);
                    busy.fetch_sub(1, Ordering::Relaxed);
                });
            }
            Ok(())
        })
    }

    fn attend(&self, viewer: &Viewer, stream: &TcpStream) {
        let answer = match stream.set_nonblocking(false) {
            Ok(()) => http::read(stream),
            Err(_) => return,
        };
        let response = match answer {
            Ok(None) => return,
            Ok(Some(request)) => self.answer(viewer, &request),
            Err(status) => Response::refusal(status),
        };
        // The browser may have gone away.
        let _ = response.write(stream);
    }

    /// The answer to a request, if it may be answered at all.
    fn answer(&self, viewer: &Viewer, request: &Request) -> Response {
        let hosts = [
            format!("127.0.0.1:{}", self.port),
            format!("localhost:{}", self.port),
        ];
        if !hosts.contains(&request.host.to_ascii_lowercase()) {
            return Response::refusal(403);
        }
        let foreign = |origin: &String| *origin != format!("http://{}", request.host);
        if request.origin.as_ref().is_some_and(foreign) {
            return Response::refusal(403);
        }
        let path = request.path.strip_prefix('/').unwrap_or_default();
        let (token, path) = path.split_once('/').unwrap_or((path, ""));
        if !http::equal(token.as_bytes(), self.token.as_bytes()) {
            return Response::refusal(403);
        }
        viewer.answer(request, path)
    }
}

/// 128 random bits of the system, as hexadecimal digits.
fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
