//! Runs every function in Docker with the SAM CLI: `sam local invoke` with the events of `tests/events`, and
//! `sam local start-api` with the same requests over HTTP. Arguments are passed to both.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person at a terminal")]

use std::env;
use std::env::consts::OS;
use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::image::Image;
use crate::run_folder::RunFolder;
use crate::sam::Settings;

mod api;
mod containers;
mod events;
mod image;
mod invoke;
mod run_folder;
mod sam;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    // What was started ends when the future that started it is dropped.
    let outcome = tokio::select! {
        outcome = Box::pin(run(env::args_os().skip(1).collect())) => outcome,
        outcome = stopped() => outcome,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Vec<OsString>) -> Result<()> {
    let (cloud, host) = containers::services().await?;
    let image = Image::choose(&cloud, &arguments).await?;
    println!("image: {image}");
    let settings = Settings { image: &image, arguments: &arguments };
    let folder = RunFolder::new(&cloud, &host, None)?;
    invoke::every_function(&cloud, &folder, &settings).await?;
    api::without_claims(&cloud, &folder, &settings).await?;
    drop(folder);
    if OS != "linux" {
        println!("NOT RUN: start-api with claims, as the program that adds them is built for Linux on Linux only");
        return Ok(());
    }
    let claims = api::claims_program().await?;
    let folder = RunFolder::new(&cloud, &host, Some(&claims))?;
    api::with_claims(&folder, &settings).await
}

/// Ends with an error on Ctrl-C and on SIGTERM.
async fn stopped() -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Err("stopped: the containers and processes of this run are ended".into())
}
