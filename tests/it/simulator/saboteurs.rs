//! What is wrong with a world in which the simulator must find something. Production code knows nothing of it: each is at
//! the store, at a sidecar, or a call too many.

use crate::harness::model_tables::Flaw;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saboteur {
    None,
    /// Holds whose time has passed are freed from memory alone: the ledger says nothing of what others took.
    FreesFromMemory,
    /// Slices of the dead are folded as soon as they are seen.
    FoldsAtOnce,
    /// Who was taken for dead gives signs of life as before.
    Revives,
    /// The lease counts from when the answer arrives.
    LeaseFromReply,
    /// Others wait for less than a server answers.
    ShortWait,
    /// Sidecars do not say what their clocks show.
    NoWitness,
    /// A charge is acknowledged, and written later.
    AcknowledgesEarly,
    NoDedupe,
    /// A revocation is acknowledged when it is written.
    NoBarrier,
    /// Sidecars take old answers.
    NoDeadline,
    /// Sidecars do not say how old a hold is.
    NoAge,
    /// A charge that was kept on its way counts as one that was not.
    NoQueueAge,
    /// Sidecars call late charges punctual.
    LateAsPunctual,
    ForgetsOthers,
    NoCeiling,
    LosesMail,
    /// A server does not keep the charges that it has acknowledged.
    KeepsNoCharges,
}

/// All that do harm.
pub const ALL: [Saboteur; 17] = [
    Saboteur::FreesFromMemory,
    Saboteur::FoldsAtOnce,
    Saboteur::Revives,
    Saboteur::LeaseFromReply,
    Saboteur::ShortWait,
    Saboteur::NoWitness,
    Saboteur::AcknowledgesEarly,
    Saboteur::NoDedupe,
    Saboteur::NoBarrier,
    Saboteur::NoDeadline,
    Saboteur::NoAge,
    Saboteur::NoQueueAge,
    Saboteur::LateAsPunctual,
    Saboteur::ForgetsOthers,
    Saboteur::NoCeiling,
    Saboteur::LosesMail,
    Saboteur::KeepsNoCharges,
];

impl Saboteur {
    /// How many schedules after the first one the search begins: shortly before one that was seen to find it. When a change
    /// of the engine moves that, the search goes on to as many as it is given.
    pub fn begin(self) -> u64 {
        match self {
            Self::FreesFromMemory => 30,
            Self::LeaseFromReply => 160,
            Self::NoQueueAge => 930,
            Self::LateAsPunctual => 20,
            Self::ForgetsOthers => 175,
            _ => 0,
        }
    }

    /// What is wrong with the ledger itself.
    pub fn flaw(self) -> Flaw {
        match self {
            Self::Revives => Flaw::Revives,
            Self::NoDedupe => Flaw::NoDedupe,
            Self::ForgetsOthers => Flaw::ForgetsOthers,
            Self::NoCeiling => Flaw::NoCeiling,
            Self::LosesMail => Flaw::LosesMail,
            _ => Flaw::None,
        }
    }
}
