//! The audit log shows whether it was touched: to whoever holds a key and a checkpoint, without the server or its database.

use std::path::Path;

use secrecy::ExposeSecret as _;
use tollreeve::{
    app::audit_tree,
    config::Config,
    domain::{
        audit_export::{Finding, Verified, Verifier},
        audit_tree::{TreeHash, is_consistent, leaf_hash, root_by_inclusion},
        checkpoint::{Checkpoint, VerifierKey},
    },
    pb::tollreeve::v1 as pb,
    store::connect::Settings,
};
use tonic::Code;

use crate::{
    harness::{
        both,
        client::{Client, assert_invalid},
        server::Env,
        world::{World, create_project, unique},
    },
    start::{execute, try_execute},
};

both!(
    an_export_is_checked_without_the_server,
    an_export_is_gone_on_with_page_by_page,
    what_has_grown_is_signed_without_being_asked_for_once,
    every_event_is_proven_to_be_under_every_later_checkpoint,
    what_is_on_record_cannot_be_changed_by_the_server,
    whoever_changes_the_log_behind_the_servers_back_is_found,
    a_log_of_before_there_was_a_tree_gets_one,
    what_no_tree_can_answer_is_refused,
);

async fn checkpoint(client: &Client, parent: &str) -> (pb::AuditCheckpoint, VerifierKey) {
    let request = pb::GetAuditCheckpointRequest { parent: parent.to_owned(), size: None };
    let answer = client.audit().get_audit_checkpoint(request).await.expect("a checkpoint").into_inner();
    (answer.checkpoint.expect("one"), answer.verifier_key.parse().expect("a key"))
}

/// The whole export after so many events, and in how many pages it came.
async fn export(client: &Client, parent: &str, after: i64) -> (String, usize) {
    let (mut lines, mut pages, mut after_sequence) = (String::new(), 0, after);
    loop {
        let request = pb::ExportAuditEventsRequest { parent: parent.to_owned(), after_sequence, continued: pages > 0 };
        let page = client.audit().export_audit_events(request).await.expect("a page").into_inner();
        lines += &page.lines;
        pages += 1;
        after_sequence = page.last_sequence;
        if page.complete {
            return (lines, pages);
        }
    }
}

fn verify(key: &VerifierKey, kept: Option<&Checkpoint>, lines: &str) -> Result<Verified, Finding> {
    let mut verifier = Verifier::new(key.clone(), kept.cloned());
    lines.lines().try_for_each(|line| verifier.line(line.as_bytes()))?;
    verifier.end()
}

async fn projects(world: &World, count: usize) {
    for _ in 0..count {
        create_project(&world.operator, &world.workspace, &unique("project")).await;
    }
}

async fn an_export_is_checked_without_the_server(env: &mut Env) {
    let world = World::new(env).await;
    let (first, key) = checkpoint(&env.operator, &world.tenant).await;
    let kept = key.open(&first.note).expect("signed");
    assert_eq!(kept.size, first.size.cast_unsigned());
    projects(&world, 3).await;
    let (lines, _) = export(&env.operator, &world.tenant, 0).await;
    let size = kept.size + 3;
    assert_eq!(verify(&key, Some(&kept), &lines), Ok(Verified { begins: 0, size }));
    // From there on it says the same.
    let (rest, _) = export(&env.operator, &world.tenant, first.size).await;
    assert_eq!(verify(&key, Some(&kept), &rest), Ok(Verified { begins: kept.size, size }));
    let (none, _) = export(&env.operator, &world.tenant, first.size + 3).await;
    assert_eq!(verify(&key, None, &none), Ok(Verified { begins: size, size }));
    // Another tenant's log is another log.
    let other = World::named(env, "globex").await;
    let (theirs, their_key) = checkpoint(&env.operator, &other.tenant).await;
    assert!(key.open(&theirs.note).is_err() && their_key.open(&theirs.note).is_ok());
    // The same key signs after a restart.
    let fresh = env.another().await;
    let again = std::mem::replace(env, fresh).restart().await;
    let (after, same) = checkpoint(&again.operator, &world.tenant).await;
    assert_eq!((same, after.size), (key.clone(), first.size + 3));
    assert_eq!(
        verify(&key, Some(&kept), &export(&again.operator, &world.tenant, 0).await.0),
        Ok(Verified { begins: 0, size })
    );
    again.end().await;
}

async fn an_export_is_gone_on_with_page_by_page(env: &mut Env) {
    let world = World::new(env).await;
    projects(&world, 520).await;
    let (lines, pages) = export(&env.operator, &world.tenant, 0).await;
    let (last, key) = checkpoint(&env.operator, &world.tenant).await;
    assert_eq!(pages, 2);
    assert_eq!(verify(&key, None, &lines), Ok(Verified { begins: 0, size: last.size.cast_unsigned() }));
    let request =
        pb::ListAuditCheckpointsRequest { parent: world.tenant.clone(), page_size: 1, page_token: String::new() };
    let listed = env.operator.audit().list_audit_checkpoints(request).await.expect("a page").into_inner();
    assert_eq!(listed.checkpoints, [last]);
}

async fn what_has_grown_is_signed_without_being_asked_for_once(env: &mut Env) {
    let world = World::new(env).await;
    let request =
        pb::ListAuditCheckpointsRequest { parent: world.tenant.clone(), page_size: 0, page_token: String::new() };
    let sizes = async || {
        let listed = env.operator.audit().list_audit_checkpoints(request.clone()).await.expect("a page").into_inner();
        listed.checkpoints.into_iter().map(|checkpoint| checkpoint.size).collect::<Vec<_>>()
    };
    audit_tree::sign_due(env.server.app()).await.expect("signed");
    let first = sizes().await;
    projects(&world, 2).await;
    for _ in 0..2 {
        audit_tree::sign_due(env.server.app()).await.expect("signed");
    }
    let second = sizes().await;
    assert_eq!(second[0], first[0] + 2);
    assert_eq!(second[1..], first[..], "newest first, and none twice");
    let (now, _) = checkpoint(&env.operator, &world.tenant).await;
    assert_eq!((now.size, sizes().await), (second[0], second));
}

async fn every_event_is_proven_to_be_under_every_later_checkpoint(env: &mut Env) {
    let world = World::new(env).await;
    let mut kept: Vec<Checkpoint> = Vec::new();
    // More than the 256 whose hashes are kept together.
    for count in [1, 7, 250, 20] {
        projects(&world, count).await;
        let (signed, key) = checkpoint(&env.operator, &world.tenant).await;
        kept.push(key.open(&signed.note).expect("signed"));
    }
    let hashes = |hashes: Vec<prost::bytes::Bytes>| -> Vec<TreeHash> {
        hashes.into_iter().map(|hash| TreeHash(hash[..].try_into().expect("32 bytes"))).collect()
    };
    for (at, new) in kept.iter().enumerate() {
        for old in &kept[..=at] {
            let request = pb::GetAuditConsistencyProofRequest {
                parent: world.tenant.clone(),
                old_size: old.size.cast_signed(),
                new_size: Some(new.size.cast_signed()),
            };
            let proof = env.operator.audit().get_audit_consistency_proof(request).await.expect("a proof").into_inner();
            assert!(is_consistent(old.size, old.root, new.size, new.root, &hashes(proof.hashes)), "{old:?} {new:?}");
        }
        for seq in [1, 2, old_half(new.size), new.size] {
            let name = format!("{}/auditEvents/{seq}", world.tenant);
            let request = pb::GetAuditInclusionProofRequest { name, tree_size: Some(new.size.cast_signed()) };
            let proof = env.operator.audit().get_audit_inclusion_proof(request).await.expect("a proof").into_inner();
            let (index, size) = (proof.leaf_index.cast_unsigned(), proof.tree_size.cast_unsigned());
            assert_eq!((index, size), (seq - 1, new.size));
            let root = root_by_inclusion(index, size, leaf_hash(&proof.leaf), &hashes(proof.hashes));
            assert_eq!(root, Some(new.root), "event {seq} of {size}");
        }
    }
}

const fn old_half(size: u64) -> u64 {
    size / 2 + 1
}

/// Where the database is, for whoever goes behind the server's back.
fn place(config: &Config) -> (Option<String>, &Path) {
    match &config.database {
        Settings::Postgres { url } => (Some(url.expose_secret().to_owned()), &config.data_dir),
        Settings::Sqlite { .. } => (None, &config.data_dir),
    }
}

async fn behind(config: &Config, statement: &str) {
    let (url, folder) = place(config);
    execute(url.as_deref(), folder, statement).await;
}

/// Takes away what keeps the log as it is, as only an administrator of the database could.
async fn unguard(config: &Config) {
    let unguarded = match &config.database {
        Settings::Postgres { .. } => {
            "DROP TRIGGER keep ON audit_events; DROP TRIGGER keep ON audit_nodes; DROP TRIGGER keep ON audit_checkpoints;
             GRANT UPDATE, DELETE ON audit_events, audit_nodes, audit_checkpoints TO CURRENT_USER"
        }
        Settings::Sqlite { .. } => {
            "DROP TRIGGER audit_events_keep; DROP TRIGGER audit_events_stay; DROP TRIGGER audit_nodes_stay;
             DROP TRIGGER audit_checkpoints_stay"
        }
    };
    behind(config, unguarded).await;
}

async fn whoever_changes_the_log_behind_the_servers_back_is_found(env: &mut Env) {
    let world = World::new(env).await;
    projects(&world, 5).await;
    let (signed, key) = checkpoint(&env.operator, &world.tenant).await;
    let kept = key.open(&signed.note).expect("signed");
    let check = async |env: &Env| verify(&key, Some(&kept), &export(&env.operator, &world.tenant, 0).await.0);
    assert!(check(env).await.is_ok());
    unguard(&env.config).await;
    behind(&env.config, "UPDATE audit_events SET actor = 'nobody' WHERE seq = 3").await;
    assert_eq!(check(env).await, Err(Finding::Changed(3)));
    behind(&env.config, "DELETE FROM audit_events WHERE seq = 2").await;
    assert_eq!(check(env).await, Err(Finding::Gap { expected: 2, found: 3 }));
}

async fn what_is_on_record_cannot_be_changed_by_the_server(env: &mut Env) {
    let world = World::new(env).await;
    let (signed, key) = checkpoint(&env.operator, &world.tenant).await;
    let attempts = [
        "UPDATE audit_events SET actor = 'nobody'",
        "UPDATE audit_events SET after = 'nothing of the kind'",
        "UPDATE audit_events SET hash = ''",
        "UPDATE audit_events SET seq = seq + 1000",
        "DELETE FROM audit_events",
        "DELETE FROM audit_checkpoints",
        "UPDATE audit_checkpoints SET note = ''",
    ];
    let (url, folder) = place(&env.config);
    for attempt in attempts {
        let refused = try_execute(url.as_deref(), folder, attempt).await.expect_err(attempt).to_string();
        assert!(refused.contains("only added to") || refused.contains("permission denied"), "{attempt}: {refused}");
    }
    let (lines, _) = export(&env.operator, &world.tenant, 0).await;
    assert_eq!(verify(&key, None, &lines), Ok(Verified { begins: 0, size: signed.size.cast_unsigned() }));
}

async fn a_log_of_before_there_was_a_tree_gets_one(env: &mut Env) {
    let world = World::new(env).await;
    projects(&world, 5).await;
    let (size, _) = checkpoint(&env.operator, &world.tenant).await;
    let undo = "DELETE FROM audit_nodes; DELETE FROM audit_checkpoints;
        UPDATE audit_heads SET size = 0, roots = '', signed = 0; UPDATE audit_events SET hash = '', seals = ',,,,'";
    let fresh = env.another().await;
    let forget = async |config: &Config| {
        unguard(config).await;
        behind(config, undo).await;
    };
    let old = std::mem::replace(env, fresh).restart_after(forget).await;
    let world = world.through(old.server.addr());
    projects(&world, 1).await;
    let (_, key) = checkpoint(&old.operator, &world.tenant).await;
    let (lines, _) = export(&old.operator, &world.tenant, 0).await;
    assert_eq!(verify(&key, None, &lines), Ok(Verified { begins: 0, size: size.size.cast_unsigned() + 1 }));
    old.end().await;
}

async fn what_no_tree_can_answer_is_refused(env: &mut Env) {
    let world = World::new(env).await;
    let (signed, _) = checkpoint(&env.operator, &world.tenant).await;
    let mut audit = env.operator.audit();
    let parent = world.tenant.clone();
    for after_sequence in [-1, signed.size + 1, i64::MAX] {
        let request = pb::ExportAuditEventsRequest { parent: parent.clone(), after_sequence, continued: false };
        assert_invalid(audit.export_audit_events(request).await, "after_sequence");
    }
    let request = pb::GetAuditConsistencyProofRequest { parent: parent.clone(), old_size: 3, new_size: Some(2) };
    assert_invalid(audit.get_audit_consistency_proof(request).await, "old_size");
    let request =
        pb::GetAuditConsistencyProofRequest { parent: parent.clone(), old_size: 1, new_size: Some(signed.size + 1) };
    assert_invalid(audit.get_audit_consistency_proof(request).await, "new_size");
    let request = pb::GetAuditConsistencyProofRequest { parent: parent.clone(), old_size: -1, new_size: None };
    assert_invalid(audit.get_audit_consistency_proof(request).await, "old_size");
    let name = format!("{parent}/auditEvents/2");
    let request = pb::GetAuditInclusionProofRequest { name: name.clone(), tree_size: Some(1) };
    assert_invalid(audit.get_audit_inclusion_proof(request).await, "tree_size");
    let request = pb::GetAuditInclusionProofRequest { name: name.replace("/2", "/999999"), tree_size: None };
    assert_eq!(audit.get_audit_inclusion_proof(request).await.expect_err("no event").code(), Code::NotFound);
    let request = pb::GetAuditCheckpointRequest { parent: parent.clone(), size: Some(0) };
    assert_eq!(audit.get_audit_checkpoint(request).await.expect_err("none").code(), Code::NotFound);
}
