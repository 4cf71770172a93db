//! The commands that invite people, and the one that accepts: the real program against a real server.

use std::fs::{self, File};

use serde_json::Value;

use crate::harness::{
    desk::{Desk, Said},
    process::{run, run_with},
};

/// The link in a record.
fn link(invitation: &Value) -> String {
    invitation["activationLink"].as_str().expect("a link").to_owned()
}

/// A file of the desk with a text in it; its path.
fn file(desk: &Desk, name: &str, text: &str) -> String {
    let path = desk.folder.path().join(name);
    fs::write(&path, text).expect("written");
    path.display().to_string()
}

/// Accepts an invitation as somebody who has nothing but its secret.
async fn accept(desk: &Desk, words: &str) -> Said {
    let mut command = desk.command("", &format!("invitations accept {words}"));
    command.env_remove("TOLLREEVE_TOKEN").env_remove("TOLLREEVE_TENANT").current_dir(desk.folder.path());
    run(command).await.into()
}

#[tokio::test]
async fn somebody_is_invited_again_and_not_any_more_by_commands() {
    let desk = Desk::new().await;
    let invite = "invitations create mia@acme.test --role analyst --team core --workspace prod";
    let dry = desk.run(&format!("{invite} --validate-only")).await.well();
    assert!(dry.starts_with("would be invited; nothing was changed\n"), "{dry}");
    let said = desk.run(invite).await.well();
    assert!(said.starts_with("invited: this server sends no mails, so bring them the activation link"), "{said}");
    assert!(said.contains("#token=inv_") && said.contains("tenants/acme/workspaces/prod"), "{said}");
    desk.run(invite).await.badly(73, &["cannot invite somebody to tenants/acme", "RESOURCE_EXISTS"]);
    desk.run("invitations create nobody").await.badly(65, &["invitation.email"]);
    desk.run("invitations create").await.badly(64, &["--file"]);
    desk.run("invitations create a@acme.test --role analyst --template x").await.badly(64, &["--template"]);
    let got = desk.run("invitations get MIA@acme.test --output json").await.json()["invitation"].clone();
    assert_eq!((&got["state"], &got["role"]), (&"INVITATION_STATE_PENDING".into(), &"roles/analyst".into()));
    assert_eq!((&got["activationLink"], got["teams"].as_array().map(Vec::len)), (&"".into(), Some(1)));
    let name = got["name"].as_str().expect("a name").to_owned();
    let short = name.rsplit('/').next().expect("an id");
    assert!(desk.run(&format!("invitations get {short}")).await.well().contains("mia@acme.test"));
    let table = desk.run("invitations list").await.well();
    assert!(table.starts_with("NAME ") && table.contains(&name) && table.contains("PENDING"), "{table}");
    desk.run("invitations resend mia@acme.test --etag v9").await.badly(75, &["ETAG_MISMATCH"]);
    let dry = desk.run("invitations resend mia@acme.test --validate-only").await.well();
    assert!(dry.starts_with("would be sent again; nothing was changed\n"), "{dry}");
    assert!(desk.run("invitations resend mia@acme.test").await.well().starts_with("sent again: this server sends no"));
    desk.run(&format!("invitations cancel {short} --validate-only")).await.well();
    let said = desk.run("invitations cancel mia@acme.test").await.well();
    assert!(said.starts_with("taken back: its link is dead\n") && said.contains("CANCELLED"), "{said}");
    desk.run("invitations cancel mia@acme.test").await.badly(66, &["no pending invitation of mia@acme.test"]);
    desk.run(&format!("invitations resend {short}")).await.badly(73, &["STATE_CONFLICT"]);
    assert_eq!(desk.run("invitations list").await.well(), "nothing\n");
    desk.process.kill().await;
}

#[tokio::test]
async fn many_are_invited_from_a_file_in_parts() {
    let desk = Desk::new().await;
    let few = file(&desk, "few", "b@acme.test\n\n  c@acme.test \n");
    let made = desk.run(&format!("invitations create a@acme.test --file {few} --output json")).await.json();
    let emails: Vec<&str> =
        made["invitations"].as_array().expect("a list").iter().filter_map(|one| one["email"].as_str()).collect();
    assert_eq!(emails, ["a@acme.test", "b@acme.test", "c@acme.test"]);
    let said = desk.run("invitations create d@acme.test e@acme.test --team core").await.well();
    assert!(said.starts_with("2 invited: this server sends no mails") && said.contains("#token=inv_"), "{said}");
    let dry = desk.run("invitations create f@acme.test g@acme.test --validate-only").await.well();
    assert!(dry.starts_with("2 would be invited; nothing was changed\n"), "{dry}");
    desk.run("invitations create f@acme.test d@acme.test")
        .await
        .badly(73, &["addresses 1 to 2 of 2", "invitations[1]"]);
    desk.run(&format!("invitations create --file {}", file(&desk, "none", "\n"))).await.badly(64, &["no address"]);
    desk.run("invitations create --file nowhere").await.badly(1, &["cannot read `nowhere`"]);
    // More than a call takes: what was done is told, with its links, and the same goes on after what was refused.
    let lines: Vec<String> = (0..1000).map(|n| format!("n{n}@big.test")).collect();
    let bad = file(&desk, "bad", &format!("{}\nnobody\n", lines.join("\n")));
    let refused = desk.run(&format!("invitations create --file {bad} --request-id big")).await;
    assert!(refused.out.starts_with("1000 invited") && refused.out.contains("n999@big.test"), "{refused:?}");
    refused.badly(65, &["1000 of 1001 are invited", "--request-id big", "addresses 1001 to 1001 of 1001"]);
    let good = file(&desk, "good", &format!("{}\nlast@big.test\n", lines.join("\n")));
    let said = desk.run(&format!("invitations create --file {good} --request-id big --output json")).await.json();
    assert_eq!(said["invitations"].as_array().map(Vec::len), Some(1001));
    let all = desk.run("invitations list --all --output json").await.json();
    assert_eq!(all["invitations"].as_array().map(Vec::len), Some(5 + 1001));
    desk.process.kill().await;
}

#[tokio::test]
async fn whoever_is_invited_accepts_without_a_token() {
    let desk = Desk::new().await;
    let invite = async |email: &str| {
        let made = desk.run(&format!("invitations create {email} --role developer --output json")).await.json();
        made["invitation"].clone()
    };
    // The whole link will do, and so will its secret alone, from a file or from standard input.
    let mia = invite("mia@acme.test").await;
    let whole = file(&desk, "link", &format!("{}\n", link(&mia)));
    let said = accept(&desk, &format!("--secret-file {whole} --display-name Mia")).await.well();
    assert!(said.starts_with("joined: a password is still to be set\n"), "{said}");
    assert!(said.contains("Mia") && said.contains("ACTIVE") && said.contains("roles/developer"), "{said}");
    let again = accept(&desk, &format!("--secret-file {whole}")).await;
    assert!(!again.err.contains("inv_"), "{again:?}");
    again.badly(66, &["cannot accept the invitation", "INVITATION_INVALID"]);
    let noa = invite("noa@acme.test").await;
    let secret = file(&desk, "secret", link(&noa).split_once("#token=").expect("a link").1);
    let mut command = desk.command("", "invitations accept --output json");
    command.env_remove("TOLLREEVE_TOKEN").current_dir(desk.folder.path());
    let joined = Said::from(run_with(command, File::open(secret).expect("a file")).await).json();
    assert_eq!((&joined["user"]["name"], &joined["user"]["displayName"]), (&noa["user"], &"noa".into()));
    accept(&desk, "inv_secret").await.badly(64, &["unexpected argument"]);
    accept(&desk, "--secret-file nowhere").await.badly(1, &["cannot read `nowhere`"]);
    desk.process.kill().await;
}

#[tokio::test]
async fn whoever_accepts_with_a_password_signs_in_and_nobody_reads_it_anywhere() {
    let desk = Desk::new().await;
    let made = desk.run("invitations create mia@acme.test --output json").await.json()["invitation"].clone();
    let secret = file(&desk, "secret", &link(&made));
    let [weak, good] = [file(&desk, "weak", "hunter2\n"), file(&desk, "good", "correct horse battery\n")];
    let refused = accept(&desk, &format!("--secret-file {secret} --password-file {weak}")).await;
    assert!(!refused.err.contains("hunter2"), "{refused:?}");
    refused.badly(65, &["password: must be 12 to 128 characters"]);
    accept(&desk, "--password-file -").await.badly(64, &["give a file for the other"]);
    let mut command = desk.command("", &format!("invitations accept --secret-file {secret} --password-file -"));
    command.env_remove("TOLLREEVE_TOKEN").current_dir(desk.folder.path());
    let said = Said::from(run_with(command, File::open(&good).expect("a file")).await).well();
    assert!(said.starts_with("joined: `tollreeve login` signs you in\n") && !said.contains("correct"), "{said}");
    let mut command = desk.command("", &format!("login --email mia@acme.test --password-file {good}"));
    command.env_remove("TOLLREEVE_TOKEN").env("TOLLREEVE_LOGIN_FILE", desk.folder.path().join("login.json"));
    let said = Said::from(run(command).await).well();
    assert!(said.contains(made["user"].as_str().expect("a name")), "{said}");
    let log = desk.process.log();
    let secret = link(&made);
    for hidden in ["hunter2", "correct horse", secret.split_once("#token=").expect("a link").1] {
        assert!(!log.contains(hidden), "{log}");
    }
    desk.process.kill().await;
}
