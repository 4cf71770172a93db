//! `tollreeve start-dev`: a server to try things out, ready for a first call. And the server that a replay brings along.

use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use tempfile::TempDir;

use super::{
    ServerOptions,
    client::{Connection, TlsArgs},
    demo::{self, Demo},
    replay::{self, StartedServer},
    serve,
};
use crate::{
    config::{Config, ConfigError, Options},
    runtime::{Server, clock::SystemClock, telemetry},
};

/// How long the operator's token of a start is good.
const TOKEN_TTL: Duration = Duration::from_hours(24);

/// Flags of `start-dev`.
#[derive(clap::Args)]
pub struct Args {
    /// Keep nothing: a database in a temporary folder, which goes with the server
    #[arg(long)]
    ephemeral: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// Starts the server, makes the demo at the first start, prints what to do next, serves until a signal.
///
/// # Errors
/// When the server cannot start.
pub async fn run(mut args: Args) -> anyhow::Result<ExitCode> {
    let scratch = args.ephemeral.then(|| temporary(&mut args.server.options)).transpose()?;
    args.server.options.log.get_or_insert_with(|| "warn".to_owned());
    let mut config = args.server.read()?;
    config.mail.to_terminal = config.mail.smtp.is_none();
    if config.tls.is_some() {
        let why = "start-dev speaks plain text to this machine alone: `tollreeve serve` speaks TLS".to_owned();
        return Err(ConfigError::Value { setting: "tls_cert_file", why }.into());
    }
    let _telemetry = telemetry::start(&config.telemetry)?;
    let server = Server::start(&config, Arc::new(SystemClock)).await?;
    let token = server.operator_token(TOKEN_TTL)?;
    let connection = Connection::open(&endpoint(&server), &TlsArgs::default(), Some(&token)).await?;
    let made = demo::seed(&connection).await?;
    let folder = &config.data_dir;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    write_private(&folder.join("operator.token"), &token)?;
    let key_file = folder.join("demo.key");
    if let Some(demo) = &made {
        write_private(&key_file, &demo.api_key)?;
    }
    let api_key = fs::read_to_string(&key_file).unwrap_or_default();
    let sidecar = demo::sidecar_token(&connection).await?;
    print!("{}", welcome(&config, &server, &token, &api_key, &sidecar, made.as_ref()));
    let code = serve::until_signal(&config, server).await;
    drop(scratch);
    code
}

/// Plays a trace; with a server of its own when none was named.
///
/// # Errors
/// As [`replay::run`].
pub async fn replay(args: replay::Args) -> anyhow::Result<ExitCode> {
    let mut own = None;
    let code = replay::run(args, async || {
        let mut options = Options { listen: Some((Ipv4Addr::LOCALHOST, 0).into()), ..Options::default() };
        options.log = Some("warn".to_owned());
        options.database_url = std::env::var("TOLLREEVE_DATABASE_URL").ok().map(Into::into);
        let scratch = temporary(&mut options)?;
        let config = options.validate()?;
        let _ = telemetry::start(&config.telemetry)?;
        let server = Server::start(&config, Arc::new(SystemClock)).await?;
        let started = StartedServer { endpoint: endpoint(&server), operator_token: server.operator_token(TOKEN_TTL)? };
        eprintln!("a server of its own on {}, {}", started.endpoint, serve::place(&config.database));
        own = Some((server, scratch));
        Ok(started)
    })
    .await;
    if let Some((server, scratch)) = own {
        server.stop().await?;
        drop(scratch);
    }
    code
}

/// Puts data and keys into a folder that goes when it is dropped.
fn temporary(options: &mut Options) -> anyhow::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("tollreeve-").tempdir().context("no temporary folder")?;
    options.data_dir = Some(folder.path().to_owned());
    options.keys_dir = Some(folder.path().join("keys"));
    Ok(folder)
}

fn endpoint(server: &Server) -> String {
    format!("http://{}", server.addr())
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let shown = || format!("cannot write {}", path.display());
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).with_context(shown)?;
    file.write_all(text.as_bytes()).with_context(shown)
}

fn welcome(
    config: &Config,
    server: &Server,
    operator: &str,
    api_key: &str,
    sidecar: &str,
    made: Option<&Demo>,
) -> String {
    let addr: SocketAddr = server.addr();
    // As it was called, so that the lines below work when they are copied.
    let tollreeve = std::env::args().next().unwrap_or_else(|| "tollreeve".to_owned());
    let folder = &config.data_dir;
    let demo = match made {
        Some(demo) => format!("The tenant `demo` was made. A development key of it: {}", demo.development_key),
        None => "The tenant `demo` was there already.".to_owned(),
    };
    format!(
        "Tollreeve listens on {addr}, {place}. Ctrl-C stops it.

{demo}
API key           {api_key}
sidecar's token   {sidecar}
operator's token  {operator}
                  (also in {folder}/operator.token, where the commands below look for it)

In another terminal, a call that is allowed, and its charge:

  {tollreeve} authorize --api-key {api_key} --model gpt-4o --input-tokens 374 --max-output-tokens 256
  {tollreeve} charge --hold TOKEN_FROM_ABOVE --input-tokens 374 --output-tokens 44

One that is refused for a reason worth reading:

  {tollreeve} authorize --api-key {api_key} --model gpt-4o --input-tokens 100000 --max-output-tokens 4096 \\
      --project {strict}

And a fleet of sidecars on a trace of production traffic:

  {tollreeve} replay deploy/sample/trace.csv --server http://{addr} --speed max
",
        place = serve::place(&config.database),
        folder = folder.display(),
        strict = demo::STRICT_PROJECT,
    )
}
