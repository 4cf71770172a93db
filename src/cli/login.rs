//! `tollreeve login` and `logout`, and the session that the other commands then act in.
//!
//! What a login leaves behind is one file that only its owner can read. Whoever finds its access token about to end carries
//! the session on and writes the file anew, one command at a time: the refresh token is good once.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, IsTerminal as _, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{
    client::{CallError, Connection, NoToken, ServerArgs, TlsArgs},
    names::UsageError,
};
use crate::{domain::time::Clock as _, pb::tollreeve::v1 as pb, runtime::clock::SystemClock};

/// An access token with less than this left is not begun with.
const MARGIN_SECS: i64 = 30;

/// Where the session is kept.
#[derive(clap::Args, Clone, Default)]
pub struct LoginFile {
    /// File that keeps the session of `tollreeve login`. Default: `.config/tollreeve/login.json` in one's home folder.
    #[arg(long, env = "TOLLREEVE_LOGIN_FILE", value_name = "FILE", global = true)]
    login_file: Option<PathBuf>,
}

impl LoginFile {
    fn path(&self) -> Option<PathBuf> {
        let home = || std::env::home_dir().map(|home| home.join(".config/tollreeve/login.json"));
        self.login_file.clone().or_else(home)
    }
}

/// Flags of `login`.
#[derive(clap::Args)]
pub struct LoginArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Tenant to sign in to, `acme`.
    #[arg(long, env = "TOLLREEVE_TENANT")]
    tenant: String,
    /// One's address.
    #[arg(long)]
    email: String,
    /// File with the password, `-` for standard input. Default: it is asked for, on a terminal.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Flags of `logout`.
#[derive(clap::Args)]
pub struct LogoutArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// What a login leaves behind.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The server that it is good for.
    server: String,
    session: String,
    access_token: String,
    /// Seconds since 1970.
    access_expires: i64,
    refresh_token: String,
}

impl Kept {
    fn new(server: &str, tokens: pb::SessionTokens) -> Self {
        Self {
            server: server.to_owned(),
            session: tokens.session.map(|session| session.name).unwrap_or_default(),
            access_token: tokens.access_token,
            access_expires: tokens.access_expire_time.map_or(0, |at| at.seconds),
            refresh_token: tokens.refresh_token,
        }
    }

    fn read(file: &mut File) -> anyhow::Result<Self> {
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Writes it over what was there.
    fn write(&self, file: &mut File) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(&text)?;
        Ok(file.sync_all()?)
    }
}

/// A password: from a file, standard input, or whoever sits at the terminal.
///
/// # Errors
/// When there is none to be had.
pub fn password(prompt: &str, file: Option<&Path>) -> anyhow::Result<String> {
    let text = match file {
        Some(path) if path == Path::new("-") => {
            let mut text = String::new();
            std::io::stdin().read_line(&mut text)?;
            text
        }
        Some(path) => fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?,
        None if std::io::stdin().is_terminal() => rpassword::prompt_password(prompt)?,
        None => return Err(UsageError("there is no terminal to ask for the password: give a file".to_owned()).into()),
    };
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Signs in, and keeps the session for the commands that follow.
///
/// # Errors
/// When the server does not let one in.
pub async fn login(args: LoginArgs) -> anyhow::Result<ExitCode> {
    let path = args.server.login.path().context("there is no home folder: give --login-file")?;
    let tenant = args.tenant.trim_start_matches("tenants/");
    let password = password(&format!("Password of {}: ", args.email), args.password_file.as_deref())?;
    let connection = Connection::open(&args.server.server, &args.server.tls, None).await?;
    let request = pb::SignInRequest { tenant: format!("tenants/{tenant}"), email: args.email.clone(), password };
    let answer = connection.sessions().sign_in(request).await;
    let what = || format!("cannot sign {} in to tenants/{tenant}", args.email);
    let answer = answer.map_err(|status| CallError { what: what(), status, advice: None })?.into_inner();
    let kept = Kept::new(&args.server.server, answer.tokens.unwrap_or_default());
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = opened.with_context(|| format!("cannot write `{}`", path.display()))?;
    file.lock()?;
    kept.write(&mut file)?;
    println!("signed in: {}", kept.session);
    Ok(ExitCode::SUCCESS)
}

/// Ends the session that a login has left, here and at the server.
///
/// # Errors
/// When the server cannot be told; the file is gone all the same.
pub async fn logout(args: LogoutArgs) -> anyhow::Result<ExitCode> {
    let Some(token) = token(&args.server.login, &args.server.server, &args.server.tls).await? else {
        println!("nobody is signed in to {}", args.server.server);
        return Ok(ExitCode::SUCCESS);
    };
    let path = args.server.login.path().unwrap_or_default();
    let kept = Kept::read(&mut File::open(&path)?)?;
    fs::remove_file(&path)?;
    let connection = Connection::open(&args.server.server, &args.server.tls, Some(&token)).await?;
    let answer = connection.sessions().revoke_session(pb::RevokeSessionRequest { name: kept.session.clone() }).await;
    let what = || format!("cannot end {}: it ends by itself when it is not carried on", kept.session);
    answer.map_err(|status| CallError { what: what(), status, advice: None })?;
    println!("signed out: {}", kept.session);
    Ok(ExitCode::SUCCESS)
}

/// The access token of the session that a login to this server has left, carried on when it is about to end; `None` without
/// one.
///
/// # Errors
/// When the session is over, or the server cannot be asked.
pub async fn token(login: &LoginFile, server: &str, tls: &TlsArgs) -> anyhow::Result<Option<String>> {
    let Some(path) = login.path() else { return Ok(None) };
    let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(NoToken { file: path, error }.into()),
    };
    file.lock()?;
    let kept = Kept::read(&mut file).with_context(|| format!("`{}` is not what a login leaves", path.display()))?;
    if kept.server != server {
        return Ok(None);
    }
    if kept.access_expires > SystemClock.now().micros() / 1_000_000 + MARGIN_SECS {
        return Ok(Some(kept.access_token));
    }
    let connection = Connection::open(server, tls, None).await?;
    let request = pb::RefreshSessionRequest { refresh_token: kept.refresh_token };
    let answer = connection.sessions().refresh_session(request).await.map_err(|status| CallError {
        what: "the session is over".to_owned(),
        status,
        advice: Some("sign in again: tollreeve login".to_owned()),
    })?;
    let kept = Kept::new(server, answer.into_inner().tokens.unwrap_or_default());
    kept.write(&mut file)?;
    Ok(Some(kept.access_token))
}
