//! Commands for people.

pub mod access;
pub mod audit;
pub mod authorize;
pub mod bindings;
pub mod budgets;
pub mod charge;
pub mod client;
pub mod credits;
pub mod demo;
pub mod invitations;
pub mod key_policies;
mod key_reviews;
mod keys;
pub mod leaks;
pub mod lifecycle;
pub mod login;
pub mod message;
pub mod names;
pub mod peppers;
pub mod policies;
pub mod prices;
pub mod projects;
pub mod replay;
pub mod roles;
pub mod serve;
pub mod service_account_keys;
pub mod service_accounts;
pub mod session;
pub mod sessions;
pub mod show;
pub mod signing_keys;
pub mod start_dev;
pub mod statements;
pub mod teams;
pub mod tenants;
pub mod usage;
pub mod users;
pub mod workspaces;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use client::{CallError, NoServer, NoToken};
use names::{NotThere, UsageError};

use crate::config::{self, Config, ConfigError, Options};

/// Exit code of a start that was refused because of a setting; `EX_USAGE` of sysexits.h.
const BAD_SETTING: u8 = 64;

/// Exit code of any other failure.
const FAILURE: u8 = 1;

/// The control plane of AI gateways: authorizes model calls against exact budgets and settles what they cost.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a server to try things out: an embedded database, a demo tenant, and a first call to copy.
    StartDev(Box<start_dev::Args>),
    /// Start a server.
    Serve(Box<ServerOptions>),
    /// Bring the database up to date, and nothing else.
    Migrate(Box<ServerOptions>),
    /// Print a bearer token of the operator; needs the key files and the database, not a server.
    OperatorToken(Box<OperatorTokenArgs>),
    /// The keys that tokens are signed with; needs the key files and the database, not a server.
    SigningKeys(signing_keys::Args),
    /// The keys under which secrets are hashed; needs them and the database, not a server.
    Peppers(peppers::Args),
    /// Ask whether a model call may be made.
    Authorize(Box<authorize::Args>),
    /// Record what a model call cost.
    Charge(Box<charge::Args>),
    /// Tenants: make, change, suspend, delete, bring back.
    Tenants(tenants::Args),
    /// Workspaces of a tenant; share them with teams.
    Workspaces(workspaces::Args),
    /// Projects of a workspace.
    Projects(projects::Args),
    /// Users: make, change, promote, suspend, remove; who owns the tenant.
    Users(users::Args),
    /// Invitations: ask people to join, again, or not any more; and accept.
    Invitations(invitations::Args),
    /// Teams: who is in them, and what each may spend in a month.
    Teams(teams::Args),
    /// Budgets: make, change, pause, move, and where they stand.
    Budgets(budgets::Args),
    /// Roles, and what each may do.
    Roles(roles::Args),
    /// Who holds which role where.
    Bindings(bindings::Args),
    /// Service accounts: identities of programs, and their tokens and certificates.
    ServiceAccounts(service_accounts::Args),
    /// API keys: make, change, rotate, revoke, delete; find them where they should not be.
    Keys(keys::Args),
    /// Sign in; the other commands then act as whoever has.
    Login(login::LoginArgs),
    /// Sign out.
    Logout(login::LogoutArgs),
    /// Where users are signed in.
    Sessions(sessions::Args),
    /// Passwords of users.
    Password(sessions::PasswordArgs),
    /// Credit of workspaces: buy, grant, adjust, see what is left; and prove it.
    Credits(Box<credits::Args>),
    /// Prices: import them, now or for later; their versions, what each changed, and the way back.
    Prices(prices::Args),
    /// What was used in a month, closed for good: show, close, export as CSV.
    Statements(statements::Args),
    /// Who may do what, and why.
    Access(access::Args),
    /// The audit log: list, export, and check that nothing in it was changed.
    Audit(Box<audit::Args>),
    /// What was used and what it cost, by time and by whom; as bars, or as CSV.
    Usage(Box<usage::Args>),
    /// Every call that was charged, newest first.
    Requests(usage::LogArgs),
    /// Play a trace of model calls as a fleet of sidecars would, and check the books.
    Replay(Box<replay::Args>),
}

/// Settings, and the file that they may stand in.
#[derive(clap::Args)]
pub struct ServerOptions {
    /// TOML file with settings: the names of the long flags with `_` for `-`
    #[arg(long, env = "TOLLREEVE_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

#[derive(clap::Args)]
struct OperatorTokenArgs {
    #[command(flatten)]
    server: ServerOptions,
    /// How long the token is good, in seconds
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(60..=86_400))]
    ttl_seconds: u64,
}

impl ServerOptions {
    /// Reads the settings from every place and checks them.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(self) -> Result<Config, ConfigError> {
        let names: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
        config::check_environment(names.iter().map(String::as_str))?;
        let options = match &self.config {
            Some(path) => self.options.or_file(path)?,
            None => self.options,
        };
        options.validate()
    }
}

/// Prints help, the version, or what is wrong with the command line.
#[must_use]
pub fn usage(error: &clap::Error) -> ExitCode {
    // Standard output may be closed; there is nothing else to say.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(BAD_SETTING) } else { ExitCode::SUCCESS }
}

/// Runs a command to its end.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(cli.command)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tollreeve: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(call) = error.downcast_ref::<CallError>() {
        return call.exit_code();
    }
    match () {
        () if error.is::<ConfigError>() || error.is::<UsageError>() => BAD_SETTING,
        () if error.is::<NotThere>() => client::EX_NOINPUT,
        () if error.is::<NoServer>() => client::EX_UNAVAILABLE,
        () if error.is::<NoToken>() => client::EX_NOPERM,
        () => FAILURE,
    }
}

async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::StartDev(args) => start_dev::run(*args).await,
        Command::Serve(options) => serve::run(options.read()?).await,
        Command::Migrate(options) => serve::migrate(&options.read()?).await,
        Command::OperatorToken(args) => {
            let ttl = Duration::from_secs(args.ttl_seconds);
            serve::operator_token(&args.server.read()?, ttl).await
        }
        Command::SigningKeys(args) => signing_keys::run(args).await,
        Command::Peppers(args) => peppers::run(args).await,
        Command::Authorize(args) => authorize::run(*args).await,
        Command::Charge(args) => charge::run(*args).await,
        Command::Tenants(args) => tenants::run(args).await,
        Command::Workspaces(args) => workspaces::run(args).await,
        Command::Projects(args) => projects::run(args).await,
        Command::Users(args) => users::run(args).await,
        Command::Invitations(args) => invitations::run(args).await,
        Command::Teams(args) => teams::run(args).await,
        Command::Budgets(args) => budgets::run(args).await,
        Command::Roles(args) => roles::run(args).await,
        Command::Bindings(args) => bindings::run(args).await,
        Command::ServiceAccounts(args) => service_accounts::run(args).await,
        Command::Keys(args) => keys::run(args).await,
        Command::Login(args) => login::login(args).await,
        Command::Logout(args) => login::logout(args).await,
        Command::Sessions(args) => sessions::run(args).await,
        Command::Password(args) => sessions::run_password(args).await,
        Command::Credits(args) => credits::run(*args).await,
        Command::Prices(args) => prices::run(args).await,
        Command::Statements(args) => statements::run(args).await,
        Command::Access(args) => access::run(args).await,
        Command::Audit(args) => audit::run(*args).await,
        Command::Usage(args) => usage::run(*args).await,
        Command::Requests(args) => usage::requests(args).await,
        Command::Replay(args) => start_dev::replay(*args).await,
    }
}
