//! The commands for people: the real program against a real server.

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use tollreeve::pb::tollreeve::v1 as pb;

use crate::harness::{
    assertions::Signer,
    client::Client,
    process::{Process, command, run},
    world::{World, account_token, create_account, create_user, create_workspace},
};

/// A server as a process, with a world in it, and somebody at a terminal.
pub struct Desk {
    pub world: World,
    operator: String,
    server: String,
    pub process: Process,
    folder: TempDir,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Said {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().expect("it ends by itself");
        Self { code, out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Said {
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!(self.code, 0, "{}", self.err);
        self.out
    }

    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.well()).expect("JSON")
    }

    #[track_caller]
    pub fn badly(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word}: {}", self.err);
        }
    }
}

impl Desk {
    pub async fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("tollreeve-it-").tempdir().expect("a folder");
        let process = Process::serve(folder.path(), None, &[]).await;
        let mut ask = command(&["operator-token", "--data-dir"]);
        ask.arg(folder.path());
        let operator = Said::from(run(ask).await).well().trim().to_owned();
        let world = World::made_by(&Client::new(process.addr, Some(&operator)), "acme").await;
        let server = format!("http://{}", process.addr);
        Self { world, operator, server, process, folder }
    }

    fn command(&self, token: &str, words: &str) -> Command {
        let mut command = command(&words.split_whitespace().collect::<Vec<_>>());
        command.env("TOLLREEVE_SERVER", &self.server).env("TOLLREEVE_TOKEN", token).env("TOLLREEVE_TENANT", "acme");
        command
    }

    /// Runs a command as the operator.
    pub async fn run(&self, words: &str) -> Said {
        run(self.command(&self.operator, words)).await.into()
    }

    /// Runs a command as somebody else.
    async fn run_as(&self, token: &str, words: &str) -> Said {
        run(self.command(token, words)).await.into()
    }
}

/// The text with what differs from run to run replaced, each by as many signs.
fn steady(text: &str) -> String {
    let mut steady = String::new();
    for word in text.split_inclusive(|c: char| c.is_whitespace()) {
        let (bare, space) = word.split_at(word.trim_end().len());
        let time = bare.len() == 20 && bare.ends_with('Z') && bare.as_bytes()[10] == b'T';
        steady += if time { "TTTT-TT-TTTTT:TT:TTZ" } else { bare };
        steady += space;
    }
    steady
}

#[tokio::test]
async fn a_tenant_a_workspace_and_a_project_live_and_end_by_commands() {
    let desk = Desk::new().await;
    for (noun, parts, record) in
        [("tenants", "globex", "tenant"), ("workspaces", "lab", "workspace"), ("projects", "prod/new", "project")]
    {
        let environment = if noun == "workspaces" { " --environment staging" } else { "" };
        let create = format!("{noun} create {parts} --display-name Laboratory{environment}");
        let dry = desk.run(&format!("{create} --validate-only")).await.well();
        assert!(dry.starts_with("would be created; nothing was changed\n"), "{dry}");
        desk.run(&format!("{noun} get {parts}")).await.badly(66, &["does not exist", "hint: check the name"]);
        let made = desk.run(&format!("{create} --output json")).await.json();
        assert_eq!(made[record]["state"], "LIFECYCLE_ACTIVE");
        assert!(made["revision"].is_i64(), "64-bit numbers are numbers: {made}");
        let name = made[record]["name"].as_str().expect("a name").to_owned();
        desk.run(&create).await.badly(73, &["RESOURCE_EXISTS"]);
        let etag = made[record]["etag"].as_str().expect("an etag");
        let renamed = format!("{noun} update {name} --display-name Lab --etag");
        desk.run(&format!("{renamed} {etag}")).await.well();
        desk.run(&format!("{renamed} {etag}")).await.badly(75, &["ETAG_MISMATCH", "read it again, then retry"]);
        let get = async || desk.run(&format!("{noun} get {parts} --output json")).await.json()[record].clone();
        assert_eq!(get().await["displayName"], "Lab");
        desk.run(&format!("{noun} suspend {parts}")).await.well();
        assert_eq!(get().await["state"], "LIFECYCLE_SUSPENDED");
        desk.run(&format!("{noun} reactivate {parts}")).await.well();
        // Nobody is there to be asked, so it is done.
        desk.run(&format!("{noun} delete {parts}")).await.well();
        assert_eq!(get().await["state"], "LIFECYCLE_DELETED");
        let place = if noun == "projects" { " prod" } else { "" };
        let listed = async |more: &str| {
            let list = desk.run(&format!("{noun} list{place} --output json --filter Lab {more}")).await.json();
            list[noun].as_array().expect("a list").len()
        };
        assert_eq!((listed("").await, listed("--show-deleted").await), (0, 1));
        desk.run(&format!("{noun} suspend {parts}")).await.badly(73, &["STATE_CONFLICT", "undelete it first"]);
        desk.run(&format!("{noun} undelete {parts}")).await.well();
        assert_eq!(get().await["state"], "LIFECYCLE_ACTIVE");
    }
    desk.run("tenants delete globex").await.well();
    // What cannot be undone needs a yes, wherever it comes from.
    desk.run("tenants purge globex").await.badly(64, &["cannot be undone: give --yes"]);
    desk.run("tenants purge globex --yes").await.well();
    desk.run("tenants get globex").await.badly(66, &[]);
    desk.process.kill().await;
}

#[tokio::test]
async fn users_and_teams_are_made_changed_and_end_by_commands() {
    let desk = Desk::new().await;
    let limited = "teams create spenders --monthly-limit-nanos 5000 --output json";
    assert_eq!(desk.run(limited).await.json()["team"]["monthlyLimitNanos"], 5000);
    desk.run("teams create bad --monthly-limit-nanos=-1").await.badly(65, &["team.monthly_limit_nanos"]);
    let made = desk.run("users create ann@acme.test --role developer --team spenders --output json").await.json();
    let ann = made["user"]["name"].as_str().expect("a name").to_owned();
    assert_eq!(made["user"]["roles"], serde_json::json!(["roles/developer"]));
    let listed = desk.run("teams list").await.well();
    assert!(listed.contains("USED %") && listed.contains("OK"), "{listed}");
    desk.run("users update ANN@acme.test --display-name Ann").await.well();
    desk.run("users update ann@acme.test").await.badly(64, &["--display-name"]);
    let found = desk.run("users list --filter ann@acme.test").await.well();
    assert!(found.contains("Ann") && found.contains("roles/developer") && found.contains("ACTIVE"), "{found}");
    let short = ann.rsplit('/').next().expect("an id").to_owned();
    desk.run(&format!("teams add-members core {short}")).await.well();
    let in_both = desk.run(&format!("users get {short} --output json")).await.json();
    assert_eq!(in_both["user"]["teams"].as_array().map(Vec::len), Some(2));
    desk.run(&format!("teams remove-members core {short}")).await.well();
    desk.run("users update ann@acme.test --no-teams").await.well();
    let dry = desk.run("users role ann@acme.test admin --validate-only").await.well();
    assert!(dry.starts_with("would be changed; nothing was changed\n"), "{dry}");
    desk.run("users role ann@acme.test admin").await.well();
    desk.run("users suspend ann@acme.test").await.well();
    desk.run("users reactivate ann@acme.test").await.well();
    desk.run("users transfer-ownership ann@acme.test").await.badly(64, &["cannot be undone: give --yes"]);
    desk.run("users transfer-ownership ann@acme.test --yes").await.badly(73, &["STATE_CONFLICT", "only a user"]);
    desk.run("teams update spenders --no-monthly-limit --description Spends").await.well();
    desk.run("teams delete spenders").await.badly(64, &["cannot be undone: give --yes"]);
    desk.run("teams delete spenders --yes").await.well();
    desk.run("teams get spenders").await.badly(66, &[]);
    let removed = desk.run("users delete ann@acme.test --yes --output json").await.json();
    assert_eq!(removed["removal"]["user"], ann.as_str());
    desk.run("users get ann@acme.test").await.badly(66, &["no user with the address"]);
    desk.process.kill().await;
}

#[tokio::test]
async fn a_service_account_is_made_signs_in_and_ends_by_commands() {
    let desk = Desk::new().await;
    let made = desk.run("service-accounts create robot --display-name Robot --output json").await.json();
    assert_eq!(made["serviceAccount"]["name"], "tenants/acme/serviceAccounts/robot");
    desk.run("bindings create --role reader --member serviceAccounts/robot").await.well();
    let token = desk.run("service-accounts token robot --ttl-seconds 60").await.well().trim().to_owned();
    let sees = async || desk.run_as(&token, "tenants get acme").await;
    sees().await.well();

    let named = "service-accounts update robot --spiffe-id spiffe://prod.example/robot";
    let dry = desk.run(&format!("{named} --validate-only")).await.well();
    assert!(dry.starts_with("would be changed; nothing was changed\n"), "{dry}");
    let named = desk.run(&format!("{named} --output json")).await.json()["serviceAccount"].clone();
    assert_eq!((&named["spiffeId"], &named["displayName"]), (&"spiffe://prod.example/robot".into(), &"Robot".into()));
    let listed = desk.run("service-accounts list --filter robot").await.well();
    assert!(listed.contains("SPIFFE ID") && listed.contains("spiffe://prod.example/robot"), "{listed}");
    desk.run("service-accounts update robot --display-name R --etag v1").await.badly(75, &["ETAG_MISMATCH"]);
    desk.run("service-accounts update robot").await.badly(64, &["--display-name"]);

    let file = desk.folder.path().join("robot.pem");
    std::fs::write(&file, Signer::ed25519().pem()).expect("written");
    let add = format!("service-accounts keys add robot --key-file {} --display-name build", file.display());
    let added = desk.run(&format!("{add} --until 2099-01-01T00:00:00Z --output json")).await.json();
    let key = added["serviceAccountKey"]["name"].as_str().expect("a name").to_owned();
    let keys = async || desk.run("service-accounts keys list robot").await.well();
    let table = keys().await;
    assert!(table.contains("ALGORITHM") && table.contains(&key) && table.contains("EdDSA"), "{table}");
    desk.run(&format!("service-accounts keys delete {key} --validate-only")).await.well();
    let short = key.trim_start_matches("tenants/acme/serviceAccounts/").replace("publicKeys/", "");
    desk.run(&format!("service-accounts keys delete {short}")).await.well();
    assert_eq!(keys().await, "nothing\n");

    desk.run("service-accounts suspend robot").await.well();
    sees().await.badly(77, &["TOKEN_INVALID"]);
    desk.run("service-accounts reactivate robot").await.well();
    sees().await.well();
    desk.run("service-accounts delete robot").await.well();
    sees().await.badly(77, &["TOKEN_INVALID"]);
    desk.run("service-accounts token robot").await.badly(73, &["STATE_CONFLICT", "is deleted"]);
    assert_eq!(desk.run("service-accounts list --filter robot").await.well(), "nothing\n");
    let back = desk.run("service-accounts undelete robot --output json").await.json()["serviceAccount"].clone();
    assert_eq!((&back["state"], &back["spiffeId"]), (&"LIFECYCLE_ACTIVE".into(), &"".into()));
    desk.process.kill().await;
}

#[tokio::test]
async fn somebody_signs_in_acts_and_signs_out_by_commands() {
    let desk = Desk::new().await;
    let (user, login) = (&desk.world.user, desk.folder.path().join("home/login.json"));
    let token = desk.run(&format!("password create-reset {user}")).await.well();
    let secret = desk.folder.path().join("password");
    std::fs::write(&secret, "correct horse battery\n").expect("written");
    let mine = async |words: &str| {
        let mut command = desk.command("", words);
        command.env_remove("TOLLREEVE_TOKEN").env("TOLLREEVE_LOGIN_FILE", &login).current_dir(desk.folder.path());
        Said::from(run(command).await)
    };
    let set = format!("password reset {} --new-password-file password", token.trim());
    mine(&set).await.well();
    mine(&set).await.badly(77, &["CREDENTIALS_INVALID"]);
    mine("workspaces get prod").await.badly(77, &["no bearer token", "tollreeve login"]);
    mine("login --email dev@example.com").await.badly(64, &["no terminal"]);
    let sign_in = "login --email dev@example.com --password-file password";
    mine(&sign_in.replace("dev@", "nobody@")).await.badly(77, &["CREDENTIALS_INVALID"]);
    let said = mine(sign_in).await.well();
    assert!(said.starts_with(&format!("signed in: {user}/sessions/ses_")), "{said}");
    mine("workspaces get prod").await.well();
    mine("workspaces suspend prod").await.badly(77, &["workspaces:write"]);
    // An access token that is about to end is exchanged, once, however many commands find it so.
    let mut kept: Value = serde_json::from_slice(&std::fs::read(&login).expect("kept")).expect("JSON");
    let before = kept["refresh_token"].clone();
    kept["access_expires"] = 0.into();
    std::fs::write(&login, kept.to_string()).expect("written");
    let said = futures_util::future::join_all((0..4).map(|_| mine("workspaces get prod"))).await;
    said.into_iter().for_each(|said| drop(said.well()));
    let kept: Value = serde_json::from_slice(&std::fs::read(&login).expect("kept")).expect("JSON");
    assert_ne!(kept["refresh_token"], before);
    let list = mine(&format!("sessions list {user} --output json")).await.json();
    assert_eq!(list["sessions"].as_array().map(Vec::len), Some(1));
    mine("logout").await.well();
    assert!(!login.exists());
    assert_eq!(desk.run(&format!("sessions list {user}")).await.well(), "nothing\n");
    assert!(mine("logout").await.well().starts_with("nobody is signed in"));
    // A session that somebody else has ended.
    mine(sign_in).await.well();
    desk.run(&format!("sessions revoke-all {user}")).await.well();
    mine("workspaces get prod").await.badly(77, &["TOKEN_INVALID", "tollreeve login"]);
    desk.process.kill().await;
}

#[tokio::test]
async fn a_list_is_a_table_for_people_and_the_message_for_programs() {
    let desk = Desk::new().await;
    desk.run("workspaces create lab --environment red-team --display-name Größe").await.well();
    desk.run("workspaces suspend lab").await.well();
    let table = desk.run("workspaces list").await.well();
    let expected = "\
NAME                          DISPLAY NAME  ENVIRONMENT  KEYS     STATE      CREATED
tenants/acme/workspaces/prod  prod          production   prod     ACTIVE     TTTT-TT-TTTTT:TT:TTZ
tenants/acme/workspaces/lab   Größe         red-team     redteam  SUSPENDED  TTTT-TT-TTTTT:TT:TTZ
";
    assert_eq!(steady(&table), expected);
    let one = desk.run("workspaces get lab").await.well();
    let expected = "\
name                       tenants/acme/workspaces/lab
display name               Größe
environment                red-team
key prefix                 redteam
state                      SUSPENDED
create time                TTTT-TT-TTTTT:TT:TTZ
etag                       v2
policies: keys on removal  REVOKE
";
    assert_eq!(steady(&one), expected);
    let list = desk.run("workspaces list --output json --order-by name").await.json();
    let names = |list: &Value| {
        let all = list["workspaces"].as_array().expect("a list").iter();
        all.map(|one| one["name"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&list), ["lab", "prod"]);
    assert_eq!(list["workspaces"][0]["keyPrefix"], "redteam");
    assert!(list["workspaces"][0].get("deleteTime").is_none());
    // Page by page, by hand, and all of it at once.
    let first = desk.run("workspaces list --page-size 1").await;
    assert!(first.err.contains("there are more: --all lists all of them, --page-token"), "{}", first.err);
    let page = desk.run("workspaces list --page-size 1 --output json").await.json();
    let token = page["nextPageToken"].as_str().expect("a token");
    assert_eq!(names(&page), ["prod"]);
    assert_eq!(names(&desk.run(&format!("workspaces list --page-token {token} --output json")).await.json()), ["lab"]);
    assert_eq!(names(&desk.run("workspaces list --page-size 1 --all --output json").await.json()), ["prod", "lab"]);
    assert_eq!(desk.run("workspaces list --filter nothing-like-it").await.well(), "nothing\n");
    desk.process.kill().await;
}

#[tokio::test]
async fn a_failure_says_what_to_do_next() {
    let desk = Desk::new().await;
    let world = &desk.world;
    let mut lost = command(&["tenants", "list"]);
    lost.env("TOLLREEVE_SERVER", &desk.server).current_dir(desk.folder.path());
    Said::from(run(lost).await).badly(77, &["no bearer token", "TOLLREEVE_TOKEN", "`tollreeve operator-token`"]);
    desk.run_as("nonsense", "tenants list").await.badly(77, &["TOKEN_INVALID", "`tollreeve operator-token`"]);
    let mut nobody = desk.command(&desk.operator, "tenants list");
    nobody.env("TOLLREEVE_SERVER", "http://127.0.0.1:1");
    Said::from(run(nobody).await).badly(69, &["no server answers", "`tollreeve start-dev`"]);
    let mut nowhere = desk.command(&desk.operator, "workspaces get prod");
    nowhere.env_remove("TOLLREEVE_TENANT");
    Said::from(run(nowhere).await).badly(64, &["which tenant?", "--tenant", "TOLLREEVE_TENANT"]);
    desk.run("workspaces get prod --tenant nobody").await.badly(66, &["hint: check the name"]);
    desk.run("projects get search").await.badly(64, &["`search` names no project: write `prod/search`"]);
    desk.run("workspaces update prod --display-name x --etag 99").await.badly(75, &["read it again, then retry"]);
    desk.run("workspaces list --filter ((").await.badly(65, &["filter: "]);
    desk.run("workspaces create x --environment staging").await.badly(65, &["workspace_id: must be 2 to 63"]);
    desk.run("roles get tsar").await.badly(66, &["tenants/acme/roles/tsar", "hint: check the name"]);
    desk.run("tenants purge").await.badly(64, &["Usage: "]);
    // Who lacks a permission is told which, and who could give it.
    let reader = create_account(&world.operator, &world.tenant, "curious", Some("roles/reader")).await;
    let reader = account_token(&world.operator, &reader).await;
    let denied = desk.run_as(&reader, "workspaces suspend prod").await;
    let lacks = "tenants/acme/serviceAccounts/curious lacks workspaces:write on tenants/acme/workspaces/prod";
    denied.badly(77, &["PERMISSION_MISSING", lacks, &format!("{} could bind roles/admin there", world.owner)]);
    desk.run_as(&reader, "bindings list").await.badly(77, &["lacks bindings:read on tenants/acme;", "roles/admin"]);
    desk.run_as(&reader, "tenants create other").await.badly(77, &["hint: use the token of a caller that holds"]);
    desk.process.kill().await;
}

#[tokio::test]
async fn a_workspace_is_shared_and_unshared_by_commands() {
    let desk = Desk::new().await;
    let world = &desk.world;
    let shared = desk.run("workspaces share prod --with core").await.well();
    assert!(
        shared.starts_with("shared\n") && shared.contains("roles/reader") && shared.contains("tenants/acme/teams/core"),
        "{shared}"
    );
    // Again is the same; further roles are further bindings.
    desk.run("workspaces share prod --with teams/core --role reader").await.well();
    desk.run("workspaces share prod --with core --role analyst --until 2099-01-01T00:00:00Z").await.well();
    let who = desk.run("access list prod --output json").await.json();
    let held = |who: &Value| {
        let mut held: Vec<String> = who["bindings"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|binding| binding["member"] == "tenants/acme/teams/core")
            .map(|binding| {
                format!(
                    "{} on {}",
                    binding["role"].as_str().unwrap_or_default(),
                    binding["scope"].as_str().unwrap_or_default()
                )
            })
            .collect();
        held.sort();
        held
    };
    let on = |role: &str| format!("roles/{role} on tenants/acme/workspaces/prod");
    assert_eq!(held(&who), [on("analyst"), on("reader")]);
    let table = desk.run("access list prod").await.well();
    assert!(
        table.starts_with("WHO ") && table.contains(&world.owner) && table.contains("2099-01-01T00:00:00Z"),
        "{table}"
    );
    // Not what lies beside it, nor what is bound to something below it.
    create_workspace(&world.operator, &world.tenant, "production-2", "staging").await;
    assert!(held(&desk.run("access list production-2 --output json").await.json()).is_empty());
    desk.run("workspaces unshare prod --with core --role analyst").await.well();
    assert_eq!(held(&desk.run("access list prod --output json").await.json()), [on("reader")]);
    desk.run("workspaces unshare prod --with core").await.well();
    assert!(held(&desk.run("access list prod --output json").await.json()).is_empty());
    desk.run("workspaces unshare prod --with core").await.badly(66, &["is not shared with tenants/acme/teams/core"]);
    desk.run("workspaces share prod --with nobody").await.badly(66, &["tenants/acme/teams/nobody"]);
    desk.process.kill().await;
}

#[tokio::test]
async fn roles_bindings_and_access_are_asked_about_by_commands() {
    let desk = Desk::new().await;
    let world = &desk.world;
    let roles = desk.run("roles list --output json").await.json();
    assert!(roles["roles"].as_array().expect("a list").iter().any(|role| role["name"] == "roles/reader"));
    let role = desk.run("roles get reader").await.well();
    assert!(role.contains("permissions  ") && role.contains("workspaces:read"), "{role}");
    let user = create_user(&world.operator, &world.tenant, "eve@example.com", "roles/reader", &[]).await;
    let id = user.rsplit('/').next().expect("an id");
    let no = desk.run(&format!("access check projects:write --on prod --for {id}")).await;
    assert_eq!(no.code, 2, "{no:?}");
    assert!(
        no.out.starts_with(&format!("no  {user} lacks projects:write on tenants/acme/workspaces/prod; ")),
        "{no:?}"
    );
    let bound =
        desk.run(&format!("bindings create --role admin --member users/{id} --on prod --output json")).await.json();
    let binding = bound["binding"]["name"].as_str().expect("a name");
    let yes = desk.run(&format!("access check projects:write --on prod/search --for {id}")).await.well();
    assert!(yes.starts_with("yes  "), "{yes}");
    let why = desk.run(&format!("access explain projects:write --on prod --for {id}")).await.well();
    assert!(why.contains("BINDING") && why.contains(binding) && why.contains("roles/admin"), "{why}");
    let all = desk.run(&format!("access explain --on prod --for {id}")).await.well();
    assert!(all.starts_with("PERMISSION ") && all.contains("keys:rotate"), "{all}");
    let mine = desk.run("access check tenants:create --output json").await.json();
    assert_eq!(mine["answer"]["allowed"], true);
    let listed = desk.run("bindings list --all --output json").await.json();
    assert!(listed["bindings"].as_array().expect("a list").iter().any(|one| one["name"] == binding));
    let short = binding.rsplit('/').next().expect("an id");
    assert!(desk.run(&format!("bindings get {short}")).await.well().contains("roles/admin"));
    desk.run(&format!("bindings delete {short}")).await.well();
    assert_eq!(desk.run(&format!("access check projects:write --on prod --for {id}")).await.code, 2);
    desk.run(&format!("bindings get {short}")).await.badly(66, &[]);
    // A role of the tenant's own, by its short name wherever a role is named.
    assert!(desk.run("roles permissions").await.well().contains("keys:rotate"));
    desk.run("roles create clerk --permissions logs:read,keys:read --display-name Clerk").await.well();
    desk.run(&format!("bindings create --role clerk --member users/{id} --on prod")).await.well();
    let asked = format!("access check keys:read --on prod --for {id}");
    assert_eq!(desk.run(&asked).await.code, 0);
    desk.run("roles update clerk --permissions logs:read").await.well();
    assert_eq!(desk.run(&asked).await.code, 2);
    desk.run("roles delete clerk --yes").await.badly(73, &["ROLE_IN_USE"]);
    assert!(desk.run("roles list").await.well().contains("tenants/acme/roles/clerk"));
    let review = desk.run("access review --kind binding").await.well();
    assert!(review.contains("tenants/acme/roles/clerk"), "{review}");
    // The same as the server says.
    let request = pb::ListBindingsRequest { parent: world.tenant.clone(), page_size: 1000, ..Default::default() };
    let bindings = world.operator.access().list_bindings(request).await.expect("a list").into_inner().bindings;
    let printed = desk.run("bindings list").await.well();
    assert!(bindings.iter().all(|binding| printed.contains(&binding.name)), "{printed}");
    assert!(!printed.contains("1970"), "what never ends has no end: {printed}");
    desk.process.kill().await;
}

#[tokio::test]
async fn what_a_workspace_lays_down_and_a_review_are_commands_too() {
    let desk = Desk::new().await;
    let world = &desk.world;
    let update = "workspaces update prod --project-budget 25usd/month:soft --default-role analyst --output json";
    let policies = desk.run(update).await.json()["workspace"]["policies"].clone();
    let budget = &policies["spending"]["projectBudget"];
    assert_eq!((budget["limit"].as_i64(), &budget["hard"]), (Some(25_000_000_000), &Value::Bool(false)));
    assert_eq!(
        (&policies["defaultRole"], &policies["keysOnRemoval"]),
        (&"roles/analyst".into(), &"KEYS_ON_REMOVAL_REVOKE".into())
    );
    let shown = desk.run("workspaces get prod").await.well();
    assert!(shown.contains("policies: spending: project budget: window  MONTH\n"), "{shown}");
    desk.run("projects create prod/paid").await.well();
    let list = pb::ListBudgetsRequest { parent: world.tenant.clone(), ..Default::default() };
    let budgets = world.operator.budgets().list_budgets(list).await.expect("a list").into_inner().budgets;
    assert_eq!(
        budgets.iter().map(|budget| (budget.limit, budget.hard)).collect::<Vec<_>>(),
        [(25_000_000_000, Some(false))]
    );
    let bound = desk.run("bindings create --member teams/core --on prod").await.well();
    assert!(bound.contains("roles/analyst"), "{bound}");
    desk.run("workspaces update prod --project-budget none --project-budget-required true").await.well();
    desk.run("projects create prod/unpaid").await.badly(73, &["give it one"]);
    desk.run("projects create prod/unpaid --budget 1000requests/day").await.well();
    desk.run("workspaces update prod").await.badly(64, &["nothing to change is given"]);
    desk.run("workspaces update prod --project-budget 5eur/week").await.badly(64, &["25usd/month"]);
    // Nothing is as old as a day.
    assert_eq!(desk.run("access review --unused-for 1d").await.well(), "nothing\n");
    desk.run("access review --unused-for long").await.badly(64, &["`90d`"]);
    let review = desk.run("access review --kind user --kind binding --output json").await.json();
    let records = review["records"].as_array().expect("a list");
    assert!(
        records.iter().any(|record| record["name"] == *world.owner && record["kind"] == "ACCESS_KIND_USER"),
        "{review}"
    );
    assert!(records.iter().all(|record| record["age"].as_str().is_some_and(|age| age.ends_with('s'))), "{review}");
    let table = desk.run("access review --kind key").await.well();
    assert!(table.starts_with("KIND ") && table.contains("\nKEY ") && table.contains(&world.key.name), "{table}");
    desk.process.kill().await;
}
