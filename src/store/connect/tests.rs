//! Opening and refusing databases; a first round of reading what was written.
