//! The image that the functions' containers are made of: AWS's own, or a stand-in built of files of this machine.

use std::collections::BTreeSet;
use std::env::consts::{ARCH, OS};
use std::ffi::OsString;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use sam_local::Cloud;

use crate::Result;
use crate::containers::{docker, until_gone};
use crate::run_folder::bootstrap;

/// SAM puts its emulator into a layer above the image, with `RUN mv … && chmod …`.
const PROGRAMS: [&str; 3] = ["/bin/sh", "/bin/mv", "/bin/chmod"];
/// The SDK's HTTP client reads the authorities that it trusts when it is built, whatever the address.
const AUTHORITIES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
/// The label of images that were built here, of all layers above them, and of the containers made of those. Its value is
/// the repository.
const LABEL: &str = "epro.sam-local.run";

/// The image that the functions' containers are made of.
#[derive(Debug)]
pub(crate) enum Image {
    /// AWS's own, by its name, and why it may be out of date.
    Aws(String, Option<String>),
    /// One of this run, which is removed in the end, and why it is not AWS's own.
    Own(Own),
    /// One that the arguments name.
    Given,
}

/// An image built of files of this machine, under a name of this run. AWS's name is never given to it: it would be taken
/// for AWS's own by every other use of SAM on this machine.
#[derive(Debug)]
pub(crate) struct Own {
    repository: String,
    reason: String,
}

impl Image {
    /// AWS's own image if its registry answers or it was pulled earlier, otherwise one that is built now.
    pub(crate) async fn choose(cloud: &Cloud, arguments: &[OsString]) -> Result<Self> {
        let given =
            |name: &str| arguments.iter().any(|argument| argument.to_str().is_some_and(|a| a.starts_with(name)));
        if given("--invoke-image") {
            return Ok(Self::Given);
        }
        let name = format!("public.ecr.aws/lambda/provided:al2023-{}", architecture());
        let unreachable = if given("--skip-pull-image") {
            "not asked for a newer one, as --skip-pull-image says".to_owned()
        } else {
            let pull = tokio::process::Command::new("docker")
                .args(["pull", "--quiet", &name])
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .output();
            let pull = pull.await?;
            if pull.status.success() {
                return Ok(Self::Aws(name, None));
            }
            let error = String::from_utf8_lossy(&pull.stderr);
            format!("its registry does not give it: {}", error.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        // Only what came from a registry has a digest of it. An image that was imported under the name has none.
        let digests = docker(&["image", "inspect", "--format", "{{join .RepoDigests \" \"}}", &name]);
        if digests.is_ok_and(|digests| digests.contains("public.ecr.aws/lambda/provided@")) {
            return Ok(Self::Aws(name, Some(unreachable)));
        }
        Ok(Self::Own(Own::build(cloud, format!("{name}: {unreachable}"))?))
    }

    /// The arguments of `sam local` that name it.
    pub(crate) fn arguments(&self) -> Vec<String> {
        match self {
            // SAM keeps its layer by name, which may lie above another image that had AWS's name once.
            Self::Aws(..) => vec!["--skip-pull-image".to_owned(), "--force-image-build".to_owned()],
            Self::Own(own) => vec!["--skip-pull-image".to_owned(), "--invoke-image".to_owned(), own.base()],
            Self::Given => Vec::new(),
        }
    }
}

impl Display for Image {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aws(name, None) => write!(f, "{name}, AWS's own (Amazon Linux), up to date"),
            Self::Aws(name, Some(reason)) => {
                write!(f, "{name}, AWS's own (Amazon Linux), as pulled earlier ({reason})")
            }
            Self::Own(own) => write!(
                f,
                "{}, built here, NOT Amazon Linux: its C library is this machine's ({})",
                own.base(),
                own.reason
            ),
            Self::Given => write!(f, "the one that the arguments name"),
        }
    }
}

impl Own {
    fn build(cloud: &Cloud, reason: String) -> Result<Self> {
        if OS != "linux" {
            return Err(format!("{reason}; only on Linux can an image be built of this machine's files").into());
        }
        let own = Self { repository: format!("epro-sam-local-{}", process::id()), reason };
        let mut programs: Vec<PathBuf> = PROGRAMS.map(PathBuf::from).into();
        programs.extend(cloud.functions().iter().map(bootstrap));
        let mut files: BTreeSet<String> = PROGRAMS.map(str::to_owned).into();
        files.extend(AUTHORITIES.into_iter().filter(|path| Path::new(path).exists()).map(str::to_owned));
        for program in programs {
            files.extend(libraries(&program)?);
        }
        // Where a folder is a link, as /bin is in most distributions, the image has a folder of that name.
        let mut archive = Command::new("tar")
            .args(["--create", "--dereference", "--hard-dereference", "--directory", "/"])
            .args(files.iter().map(|file| file.trim_start_matches('/')))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("tar does not start: {e}"))?;
        let output = archive.stdout.take().ok_or("tar has no output")?;
        let import = Command::new("docker")
            .args(["import", "--change", &format!("LABEL {LABEL}={}", own.repository), "-", &own.base()])
            .stdin(output)
            .output()?;
        if !archive.wait()?.success() || !import.status.success() {
            return Err(format!("no image could be built: {}", String::from_utf8_lossy(&import.stderr).trim()).into());
        }
        Ok(own)
    }

    fn base(&self) -> String {
        format!("{}:base", self.repository)
    }
}

impl Drop for Own {
    #[allow(clippy::print_stderr, reason = "it talks to a person at a terminal")]
    fn drop(&mut self) {
        let label = format!("label={LABEL}={}", self.repository);
        let removed = until_gone(|| {
            let containers = docker(&["ps", "--all", "--quiet", "--filter", &label])?;
            for id in containers.split_whitespace() {
                docker(&["rm", "--force", id])?;
            }
            let images = docker(&["image", "ls", "--all", "--quiet", "--filter", &label])?;
            for id in images.split_whitespace() {
                // It may have gone with one that was made of it.
                let _ = docker(&["image", "rm", "--force", id]);
            }
            Ok(!containers.is_empty() || !images.is_empty())
        });
        if let Err(error) = removed {
            eprintln!("the images {} could not be removed: {error}", self.repository);
        }
    }
}

/// The architecture of this machine, as Lambda names it.
pub(crate) fn architecture() -> &'static str {
    match ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

/// The libraries and the loader of a program, as this machine finds them. A program without any has none.
fn libraries(program: &Path) -> Result<BTreeSet<String>> {
    let output = Command::new("ldd").arg(program).output().map_err(|e| format!("ldd does not start: {e}"))?;
    let text = String::from_utf8(output.stdout)?;
    if let Some(missing) = text.lines().find(|line| line.contains("not found")) {
        return Err(format!("{}: {}", program.display(), missing.trim()).into());
    }
    let words = text.lines().flat_map(|line| line.split_whitespace());
    Ok(words.filter(|word| word.starts_with('/') && !word.ends_with(':')).map(str::to_owned).collect())
}
