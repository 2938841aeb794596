//! `djr view`: sliders for the bounds of a run or an analysis, in a browser on this machine.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::runner::{Signals, working_dir};
use super::ui::Ui;
use super::{Exit, past, recut, run};
use crate::report::table::thousands;
use crate::view::serve::{Server, Viewer};

const EXAMPLES: &str = "\
Examples:
  djr analyze data.jsonl -o look && djr view look
  djr view out/clean.jsonl --port 8123

Prints the address of a page. Its sliders are the bounds of the recipe's filters; counts are those of
djr recut. The page writes the recipe as view-1.yaml into the working directory, or a later number:
no file is written over. Only this machine can open it, by the token in the address. Ctrl-C ends it.";

/// Move the bounds of a run or an analysis by sliders, in a browser.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory of an analysis, or a run: its .djr directory, or one of its outputs.
    what: PathBuf,
    /// The port on this machine [default: any that is free].
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 0,
        hide_default_value = true
    )]
    port: u16,
    /// Open the page in the default browser.
    #[arg(long)]
    open: bool,
    /// The Python of operators that run in Data-Juicer.
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
}

/// Runs the command.
pub fn main(args: &Args, ui: &Ui) -> Exit {
    let cwd = match working_dir(ui) {
        Ok(cwd) => cwd,
        Err(exit) => return exit,
    };
    if let Err(exit) = past::look([args.what.as_path()], ui) {
        return exit;
    }
    let peers = run::peers(args.python.as_deref(), &cwd);
    let viewer = match Viewer::open(&args.what, &cwd, Some(peers)) {
        Ok(viewer) => viewer,
        Err(failure) => return recut::refuse(&failure, ui),
    };
    let server = match Server::listen(args.port) {
        Ok(server) => server,
        Err(failure) => {
            let hint = "name another port, or none";
            ui.error("cannot_listen", &failure.to_string(), Some(hint));
            return Exit::Failed;
        }
    };
    let signals = Signals::watch(ui);
    let address = server.address();
    if ui.data(&format!("{address}\n")) != Exit::Success {
        return Exit::Failed;
    }
    let rows = thousands(viewer.rows());
    ui.info(&format!("{rows} rows; Ctrl-C ends it"));
    if args.open {
        open(&address, ui);
    }
    match server.serve(&viewer, &signals.interrupted) {
        // A page is looked at until somebody has seen enough: that is no failure.
        Ok(()) => Exit::Success,
        Err(failure) => {
            ui.error("cannot_listen", &failure.to_string(), None);
            Exit::Failed
        }
    }
}

/// Asks the desktop for a browser; the address was printed, so that it is no matter if there is none.
fn open(address: &str, ui: &Ui) {
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let browser = Command::new(opener)
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = browser {
        ui.info(&format!("{opener}: {error}: open the address yourself"));
    }
}
