//! Docker's containers: how they reach this machine, and their end.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use sam_local::Cloud;
use tokio::time::Instant;

use crate::Result;

/// How long removing may take.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// The services, and the name or address by which containers reach this machine. Where Docker runs on this machine, its
/// bridge has an address of it that nobody else can reach; Docker Desktop forwards a name to the loopback address.
pub(crate) async fn services() -> Result<(Cloud, String)> {
    let inspect = ["network", "inspect", "bridge", "--format", "{{range .IPAM.Config}}{{.Gateway}}{{end}}"];
    let bridge: Option<IpAddr> = docker(&inspect)?.trim().parse().ok();
    if let Some(bridge) = bridge {
        match Cloud::start(bridge).await {
            Ok(cloud) => return Ok((cloud, bridge.to_string())),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((Cloud::start(Ipv4Addr::LOCALHOST.into()).await?, "host.docker.internal".to_owned()))
}

/// Removes the containers that have something of `folder` mounted, running or not, by their ids: those that SAM left.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    until_gone(|| {
        let mut found = false;
        for id in docker(&["ps", "--all", "--quiet", "--no-trunc"])?.split_whitespace() {
            // Another program's container may have ended since.
            let Ok(mounts) = docker(&["inspect", "--format", "{{range .Mounts}}{{println .Source}}{{end}}", id]) else {
                continue;
            };
            // Docker Desktop writes a prefix before a path of the host.
            if folder.to_str().is_some_and(|folder| mounts.contains(folder)) {
                found = true;
                docker(&["rm", "--force", id])?;
            }
        }
        Ok(found)
    })
}

/// Repeats `remove` until it finds nothing. Docker may still be making what an ended client asked for, or be removing it.
#[expect(clippy::disallowed_methods, reason = "a drop cannot await, and nothing else has to run by then")]
pub(crate) fn until_gone(remove: impl Fn() -> io::Result<bool>) -> io::Result<()> {
    let started = Instant::now();
    loop {
        match remove() {
            Ok(false) => return Ok(()),
            Err(error) if started.elapsed() > END_PATIENCE => return Err(error),
            Ok(true) if started.elapsed() > END_PATIENCE => return Err(io::Error::other("there are ever more")),
            Ok(true) | Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// What a short command of `docker` prints.
pub(crate) fn docker(arguments: &[&str]) -> io::Result<String> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("docker {}: {}", arguments.join(" "), error.trim())));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}
