//! An audit log as lines of JSON, and the check that needs nothing else but a key: no server, no database, no trust in either.
//!
//! The first line says whose log it is and what the tree was before the first event that follows; then come the events, each
//! with the salts of what it says, and between them the checkpoints that were signed when the log had so many events. Whoever
//! checks hashes every event anew and grows the tree, and insists on the root of each checkpoint on the way: what is changed,
//! left out, added or put elsewhere makes another root, and only the holder of the signing key can sign that.

use serde::{Deserialize, Serialize};

use super::{
    audit::{AuditEvent, Detail, Field, Outcome},
    audit_tree::{Frontier, TreeHash},
    checkpoint::{Checkpoint, VerifierKey, origin},
    id::TenantId,
    time::Timestamp,
};

/// A line of an export.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    /// What comes before the first event.
    Log { tenant: String, after: u64, roots: Vec<String> },
    /// An event.
    Event(Box<EventLine>),
    /// A signed note.
    Checkpoint(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine {
    sequence: i64,
    time: String,
    time_micros: i64,
    actor: String,
    action: String,
    resource: String,
    outcome: String,
    request_id: String,
    trace_id: String,
    revision: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<DetailLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<DetailLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<DetailLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_agent: Option<DetailLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<DetailLine>,
    hash: String,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum DetailLine {
    Kept { value: String, salt: String },
    Erased { erased: String },
}

impl DetailLine {
    fn of(detail: &Detail) -> Option<Self> {
        match detail {
            Detail::Empty => None,
            Detail::Kept { value, salt } => Some(Self::Kept { value: value.clone(), salt: salt.clone() }),
            Detail::Erased(commitment) => Some(Self::Erased { erased: commitment.to_string() }),
        }
    }

    fn detail(line: Option<Self>) -> Option<Detail> {
        match line {
            None => Some(Detail::Empty),
            Some(Self::Kept { value, salt }) => Some(Detail::Kept { value, salt }),
            Some(Self::Erased { erased }) => erased.parse().ok().map(Detail::Erased),
        }
    }
}

/// The first line of an export of the events after those in this tree.
#[must_use]
pub fn head_line(tenant: TenantId, before: &Frontier) -> String {
    let roots = before.roots().iter().map(ToString::to_string).collect();
    line(&Line::Log { tenant: tenant.to_string(), after: before.size(), roots })
}

/// The line of an event, whose leaf was hashed to this when it was put on record.
#[must_use]
pub fn event_line(event: &AuditEvent, hash: TreeHash) -> String {
    let [before, after, source, user_agent, reason] = event.details.each_ref().map(DetailLine::of);
    line(&Line::Event(Box::new(EventLine {
        sequence: event.seq,
        time: event.at.to_string(),
        time_micros: event.at.micros(),
        actor: event.actor.clone(),
        action: event.action.clone(),
        resource: event.resource.clone(),
        outcome: event.outcome.as_str().to_owned(),
        request_id: event.request_id.clone(),
        trace_id: event.trace_id.clone(),
        revision: event.revision,
        before,
        after,
        source,
        user_agent,
        reason,
        hash: hash.to_string(),
    })))
}

/// The line of a checkpoint.
#[must_use]
pub fn checkpoint_line(note: &str) -> String {
    line(&Line::Checkpoint(note.to_owned()))
}

fn line(line: &Line) -> String {
    // Strings and numbers can always be written.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}

fn event(line: EventLine) -> Option<(AuditEvent, TreeHash)> {
    let at = Timestamp::from_micros(line.time_micros);
    let details = [line.before, line.after, line.source, line.user_agent, line.reason].map(DetailLine::detail);
    let [Some(before), Some(after), Some(source), Some(agent), Some(reason)] = details else { return None };
    let event = AuditEvent {
        seq: line.sequence,
        at,
        actor: line.actor,
        action: line.action,
        resource: line.resource,
        outcome: Outcome::parse(&line.outcome)?,
        request_id: line.request_id,
        trace_id: line.trace_id,
        revision: line.revision,
        details: [before, after, source, agent, reason],
    };
    // A value that is empty is none, and leaves no commitment.
    let says =
        Field::ALL.iter().all(|field| !matches!(event.detail(*field), Detail::Kept { value, .. } if value.is_empty()));
    (says && at.to_string() == line.time).then_some((event, line.hash.parse().ok()?))
}

/// What does not fit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Finding {
    /// A line is none of an export.
    #[error("line {0} is none of an export")]
    Malformed(usize),
    /// The log is not the one that the key is of.
    #[error("this is the log of {0}, and the key is of another one")]
    OtherLog(String),
    /// An event is not the next one.
    #[error("event {expected} is not there: {found} is in its place")]
    Gap {
        /// Its number.
        expected: u64,
        /// That of the one that is there.
        found: i64,
    },
    /// An event is not what its hash says.
    #[error("event {0} was changed: it is not what its hash says")]
    Changed(i64),
    /// A checkpoint is not signed by the key.
    #[error("the checkpoint after event {0}: {1}")]
    Note(u64, super::checkpoint::NoteError),
    /// A checkpoint is not where it belongs.
    #[error("a checkpoint of {size} events stands after event {at}")]
    Place {
        /// How many it is of.
        size: u64,
        /// Where it stands.
        at: u64,
    },
    /// The events up to a checkpoint are not those that it was signed for.
    #[error(
        "events {first} to {last} are not those that the checkpoint was signed for: at least one was changed, added or removed"
    )]
    Root {
        /// The first that may be another.
        first: u64,
        /// The last.
        last: u64,
    },
    /// The log has fewer events than the checkpoint that somebody kept.
    #[error("the log ends with event {has}, and there was a checkpoint of {kept}: events were removed at its end")]
    Truncated {
        /// How many it has.
        has: u64,
        /// How many it had.
        kept: u64,
    },
    /// The export begins after the checkpoint that somebody kept.
    #[error(
        "the export begins after event {begins}, and the checkpoint that was kept is of {kept}: export from there on"
    )]
    TooLate {
        /// After which event it begins.
        begins: u64,
        /// How many the checkpoint is of.
        kept: u64,
    },
    /// The last events are under no checkpoint.
    #[error("events {0} to {1} are under no checkpoint")]
    Unsigned(u64, u64),
}

/// Checks an export, line by line, in constant memory.
#[derive(Debug)]
pub struct Verifier {
    key: VerifierKey,
    /// A checkpoint that was kept elsewhere and is still to come.
    kept: Option<Checkpoint>,
    tenant: Option<TenantId>,
    tree: Frontier,
    begins: u64,
    lines: usize,
    signed: u64,
}

/// What a check came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    /// After how many events the export begins.
    pub begins: u64,
    /// How many events the log has.
    pub size: u64,
}

impl Verifier {
    /// Checks by this key, and that the log still has in it what `kept` was signed for.
    #[must_use]
    pub fn new(key: VerifierKey, kept: Option<Checkpoint>) -> Self {
        Self { key, kept, tenant: None, tree: Frontier::default(), begins: 0, lines: 0, signed: 0 }
    }

    /// Takes the next line in.
    ///
    /// # Errors
    /// [`Finding`]: what does not fit first.
    pub fn line(&mut self, text: &[u8]) -> Result<(), Finding> {
        self.lines += 1;
        let malformed = Finding::Malformed(self.lines);
        let line = serde_json::from_slice(text).map_err(|_| malformed.clone())?;
        match (line, self.tenant) {
            (Line::Log { tenant, after, roots }, None) => {
                let id: TenantId = tenant.parse().map_err(|_| malformed.clone())?;
                if origin(id) != self.key.name() {
                    return Err(Finding::OtherLog(tenant));
                }
                let roots: Option<Vec<TreeHash>> = roots.iter().map(|root| root.parse().ok()).collect();
                self.tree = roots.and_then(|roots| Frontier::new(after, roots)).ok_or(malformed)?;
                (self.tenant, self.begins, self.signed) = (Some(id), after, after);
                match self.kept.as_ref().filter(|kept| kept.size < after) {
                    Some(kept) => Err(Finding::TooLate { begins: after, kept: kept.size }),
                    None => self.compare_kept(),
                }
            }
            (Line::Event(line), Some(tenant)) => {
                let (seq, (event, hash)) = (line.sequence, event(*line).ok_or(malformed)?);
                let expected = self.tree.size() + 1;
                if u64::try_from(seq) != Ok(expected) {
                    return Err(Finding::Gap { expected, found: seq });
                }
                if event.hash(tenant) != hash {
                    return Err(Finding::Changed(seq));
                }
                self.tree.append(hash, |_, _| ());
                self.compare_kept()
            }
            (Line::Checkpoint(note), Some(_)) => {
                let at = self.tree.size();
                let checkpoint = self.key.open(&note).map_err(|error| Finding::Note(at, error))?;
                if checkpoint.size != at {
                    return Err(Finding::Place { size: checkpoint.size, at });
                }
                if checkpoint.root != self.tree.root() {
                    return Err(Finding::Root { first: self.signed + 1, last: at });
                }
                self.signed = at;
                Ok(())
            }
            _ => Err(malformed),
        }
    }

    /// Insists on the checkpoint that was kept when the log has as many events.
    fn compare_kept(&mut self) -> Result<(), Finding> {
        if let Some(kept) = self.kept.take_if(|kept| kept.size == self.tree.size())
            && kept.root != self.tree.root()
        {
            return Err(Finding::Root { first: self.signed + 1, last: kept.size });
        }
        Ok(())
    }

    /// The export has ended.
    ///
    /// # Errors
    /// [`Finding`], when it should not have.
    pub fn end(self) -> Result<Verified, Finding> {
        let size = self.tree.size();
        match self.kept {
            _ if self.tenant.is_none() => Err(Finding::Malformed(self.lines + 1)),
            Some(kept) => Err(Finding::Truncated { has: size, kept: kept.size }),
            None if self.signed < size => Err(Finding::Unsigned(self.signed + 1, size)),
            None => Ok(Verified { begins: self.begins, size }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{audit::SALT, checkpoint::Signer};

    const TENANT: TenantId = TenantId::from_bits(5);

    fn signer() -> Signer {
        let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().expect("a key");
        Signer::new(pair.to_pkcs8v1().expect("encodes").as_ref()).expect("a key")
    }

    fn event_of(seq: i64) -> AuditEvent {
        let text = |text: &str| format!("{text}{seq}");
        let values = [String::new(), text("{\"state\":"), text("192.0.2.7:"), "curl/8".to_owned(), text("because ")];
        AuditEvent {
            seq,
            at: Timestamp::from_micros(1_760_000_000_000_000 + seq * 1_000),
            actor: text("tenants/acme/users/usr_"),
            action: "keys.revoke".to_owned(),
            resource: text("tenants/acme/workspaces/main/keys/key_"),
            outcome: Outcome::Done,
            request_id: text("request-"),
            trace_id: String::new(),
            revision: 100 + seq,
            details: values.map(|value| Detail::new(value, [u8::try_from(seq % 251).expect("small"); SALT])),
        }
    }

    /// A log of so many events, signed every few and at its end, and the note after each checkpoint.
    fn log(signer: &Signer, events: i64) -> (Vec<String>, Vec<String>) {
        let mut tree = Frontier::default();
        let (mut lines, mut notes) = (vec![head_line(TENANT, &tree)], Vec::new());
        for seq in 1..=events {
            let event = event_of(seq);
            tree.append(event.hash(TENANT), |_, _| ());
            lines.push(event_line(&event, event.hash(TENANT)));
            if seq % 16 == 0 || seq == events {
                notes.push(note(signer, &tree));
                lines.push(checkpoint_line(notes.last().expect("one")));
            }
        }
        (lines, notes)
    }

    fn note(signer: &Signer, tree: &Frontier) -> String {
        signer.sign(&Checkpoint { origin: origin(TENANT), size: tree.size(), root: tree.root() })
    }

    fn verify(key: &VerifierKey, kept: Option<&str>, lines: &[String]) -> Result<Verified, Finding> {
        let kept = kept.map(|note| key.open(note).expect("a checkpoint"));
        let mut verifier = Verifier::new(key.clone(), kept);
        lines.iter().try_for_each(|line| verifier.line(line.as_bytes()))?;
        verifier.end()
    }

    #[test]
    fn an_export_fits_whole_and_from_any_event_on() {
        let signer = signer();
        let (key, (lines, notes)) = (signer.verifier(&origin(TENANT)), log(&signer, 100));
        assert_eq!(verify(&key, None, &lines), Ok(Verified { begins: 0, size: 100 }));
        for note in &notes {
            assert_eq!(verify(&key, Some(note), &lines), Ok(Verified { begins: 0, size: 100 }));
        }
        let mut tree = Frontier::default();
        for seq in 1..=50 {
            tree.append(event_of(seq).hash(TENANT), |_, _| ());
        }
        let after = lines.iter().position(|line| line.contains("\"sequence\":51,")).expect("there");
        let mut part = vec![head_line(TENANT, &tree)];
        part.extend_from_slice(&lines[after..]);
        assert_eq!(verify(&key, Some(&notes[3]), &part), Ok(Verified { begins: 50, size: 100 }));
        assert_eq!(verify(&key, Some(&notes[2]), &part), Err(Finding::TooLate { begins: 50, kept: 48 }));
        assert_eq!(
            verify(&signer.verifier("tollreeve/other"), None, &lines),
            Err(Finding::OtherLog(TENANT.to_string()))
        );
    }

    #[test]
    fn the_first_event_that_does_not_fit_is_named() {
        let signer = signer();
        let (key, (lines, notes)) = (signer.verifier(&origin(TENANT)), log(&signer, 40));
        let changed = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = lines.clone();
            change(&mut lines);
            verify(&key, Some(&notes[2]), &lines).expect_err("changed")
        };
        assert_eq!(changed(&|lines| lines[7] = lines[7].replace("curl/8", "curl/9")), Finding::Changed(7));
        assert_eq!(changed(&|lines| drop(lines.remove(7))), Finding::Gap { expected: 7, found: 8 });
        assert_eq!(changed(&|lines| lines.swap(7, 8)), Finding::Gap { expected: 7, found: 8 });
        // Whoever changes an event together with its hash is found at the next checkpoint.
        let forged = AuditEvent { actor: "somebody else".to_owned(), ..event_of(20) };
        let other = event_line(&forged, forged.hash(TENANT));
        let at = lines.iter().position(|line| line.contains("\"sequence\":20,")).expect("there");
        assert_eq!(changed(&|lines| lines[at] = other.clone()), Finding::Root { first: 17, last: 32 });
        // The end is cut off, with its checkpoint: only who kept one can tell.
        let cut = &lines[..lines.len() - 9];
        assert_eq!(verify(&key, None, cut), Ok(Verified { begins: 0, size: 32 }));
        assert_eq!(verify(&key, Some(&notes[2]), cut), Err(Finding::Truncated { has: 32, kept: 40 }));
        assert_eq!(verify(&key, None, &lines[..lines.len() - 1]), Err(Finding::Unsigned(33, 40)));
        assert_eq!(verify(&key, None, &[]), Err(Finding::Malformed(1)));
    }
}
