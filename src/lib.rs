//! Tollreeve is the control plane of AI gateways.
//!
//! Sidecar proxies ask it about every model call: may this key do this, is there money left (`Authorize`), and what did
//! it cost (`Charge`). Internal services run tenants through it: people, teams, roles, keys, budgets, audit.
//!
//! # The house
//!
//! Whoever stands further left knows whoever stands further right, never the other way:
//!
//! ```text
//! main -> cli -> runtime -> grpc -> app -> { engine, store } -> domain
//! ```
//!
//! The layer is the folder, the noun is the file: `domain/keys.rs` says what a key is, `store/keys.rs` how it is stored,
//! `app/keys.rs` what can be done with it, `grpc/keys.rs` how one asks for that.
//!
//! * [`domain`]: values and rules. No I/O, no clock, no randomness, nothing asynchronous: time and random bytes are
//!   arguments.
//! * [`engine`]: the hot path, in memory. It knows no database, only a [`engine::journal::Journal`], which
//!   [`store::ledger::Ledger`] implements; so a ledger in memory can drive it just as well, as tests do.
//! * [`store`]: the only SQL. One text for both databases wherever that is possible, the exceptions side by side in
//!   [`store::dialect`].
//! * [`app`]: use cases of the management plane.
//! * [`grpc`]: the only protobuf. Shapes are checked here and nowhere else; errors become statuses in one place.
//! * [`runtime`]: wiring, threads, tasks, key files, the end.
//! * [`config`]: the only reader of flags, environment and files.
//! * [`cli`]: commands for people. All but the server itself are clients like any other.
//!
//! # A decision
//!
//! `Authorize` reads one state of everything ([`engine::state`]) under a reader-writer lock that is split so that readers
//! do not meet, and writes two things: the accounts of the budgets that apply ([`engine::accounts`]), locked in the order
//! of their indexes, and the table of holds ([`engine::holds`]), of which it locks one of 64 parts. It allocates little
//! and waits for nothing, unless a budget is *cold*.
//!
//! A server owns *slices* of budgets: amounts that the database has set aside for it (the escrow method, O'Neil 1986).
//! Holds come out of the slice in memory. When it runs low, a task ([`engine::grants`]) asks for more before anybody has to
//! wait; when it is empty, whoever comes waits for one commit, together with all who wait at the time.
//!
//! With a million keys nearly everything that a decision looks at has left the processor's caches, so what it costs is how
//! often it waits for memory. Records refer to each other by index; those of people and budgets fill whole cache lines. What
//! will be looked at is asked for before it is needed (`engine/ahead.rs`): the two places where the index may have a key while
//! the key's checksum is looked at, its owner, workspace and allowlist while the secret is hashed, all budgets of a call while its
//! other conditions are. The answer borrows its names from the state and is written to the wire while that is still locked
//! ([`grpc::gate_reply`]).
//!
//! Whether there is a key with an id cannot be told by the time that a refusal takes: the index always looks at two places and
//! says without a branch which row to look at, that of the key or some other (`engine/key_index.rs`).
//!
//! Invariant: for every budget and period, `allocated = granted of open slices + settled <= ceiling`, in the database,
//! checked by the table itself. So whatever a server believes, the limit is not passed by what is admitted.
//!
//! Invariant: in memory, `spent + held <= granted`, and a hold is admitted only while everything spent and held, here and
//! elsewhere, fits the limit. So a lowered limit binds at once, although the slice may have more.
//!
//! Invariant: a hold is placed on all budgets or on none: all accounts are locked, then all are asked, then all are
//! written.
//!
//! # Budgets
//!
//! A budget's window divides time by the clock of a zone and from an anchor ([`domain::calendar`]): a sequence of moments, so
//! that periods neither overlap nor leave anything out, whatever is done to clocks there. The zones' data is built in
//! ([`domain::zone`]), so that servers of one version agree. A period is named by its beginning; the calendar of a budget never
//! changes, for its periods would get other names. To decisions a calendar costs nothing: the account that runs knows its end,
//! and only past it the calendar is asked, in the record that a decision does not read otherwise ([`engine::periods`]).
//!
//! A paused budget is a soft one for as long as it is paused: the ledger's ceiling goes up, it counts, and refuses nothing. To
//! resume it, or to make a soft budget hard, is to lower a limit: it binds at once, and is acknowledged when the servers have
//! given back what they set aside beyond it. A budget that is moved takes along its periods and what is held on it, for holds
//! refer to the budget and not to what it limits; from its acknowledgement on it limits the new scope alone.
//!
//! What is spent of a period lies in slices that several servers charge, and nobody adds that up at a charge. Each part of it is
//! *watched* for an amount, and the statement that charges it marks it as due when it reaches that ([`store::alerts`]).
//! Invariant: while nothing of a period is due, all its parts together have grown by less than was missing until the next
//! threshold. A task looks at what is due ([`app::alerts`]), writes the event, its row with a unique key and the mails in one
//! transaction, and shares out anew what is missing: near a threshold it looks more often, and else hardly ever.
//!
//! # A charge
//!
//! A charge takes its amounts out of its hold, and what goes past it out of what the slice has free; then it waits in a
//! queue ([`engine::writer`]). One task writes the queue, up to 1024 charges a commit, and starts the next commit when the
//! last is durable. So one fsync serves all who wait, and no timer makes anybody wait longer. The answers go to each serving
//! thread in one piece: a caller that is woken by another thread costs a system call and a flushed socket.
//!
//! Invariant: a charge is acknowledged only after its commit. Invariant: a charge id is in the ledger once; the same id
//! with the same body is answered from the ledger, with another body it is refused.
//!
//! A charge is a fact. When its hold is gone, or there is no room, it is recorded all the same: first against what the
//! limit has left, and past that as an overrun. Before anything goes past its slice, the writer waits until memory knows
//! what was granted last and takes what is free of it; nothing is granted until that charge is written. So an overrun is
//! never overstated because a grant was under way.
//!
//! A hold is settled by whichever server its token comes to. One that did not make it learns from the ledger what earlier
//! charges took of it, in the transaction that takes the rest.
//!
//! A hold that nobody charges to its end is released when its time and the grace have passed, or charged in full
//! ([`engine::expiry`]): each budget says which, and says it at that moment. That is a charge of its own with the hold's id,
//! so it is on record once; what it took is credit for charges of the hold that still come, noted in its postings, and each of
//! those notes what it used of it (`store/writing.rs`). Invariant: on such a budget a hold comes to the larger of what was
//! held and what was charged, in whichever order and at whichever servers the charges and the end come: those that may meet
//! lock the budget's period before they look at each other. A hold that a charge has ended is not charged at its end. What
//! is conceded: holds live in memory, so those of a server that has crashed or stopped are released with its slice,
//! whatever their budgets say.
//!
//! Invariant: all transactions of the ledger lock in one order ([`store::slices`]), so that several may write at once.
//!
//! When the answer to a commit is lost (PostgreSQL, a cut connection), the writer asks again with the same ids until the
//! ledger says what happened, and only then goes on: memory never guesses.
//!
//! # A change
//!
//! A use case ([`app::context::Work`]) is one transaction: it locks the tenant's audit log, reads the caller's authority,
//! changes what it changes, writes its audit event, takes the next revision of the feed as its last statement, commits,
//! and answers when decisions see that revision.
//!
//! Invariant: a change and its audit event commit together or not at all. Invariant: revisions are dense and in commit
//! order, because one row gives them out under a lock that is held until the commit; sequences and timestamps would lose
//! events. Invariant: the state is built only by [`engine::apply`], from the snapshot at the start and from the feed later;
//! a gap or an event that does not fit ends the server, which starts again from a snapshot.
//!
//! Authority is read inside the transaction and under the lock, so whoever was demoted first loses. A transaction never
//! runs inside an RPC's own future: when a client goes away that future is dropped, wherever it is.
//!
//! What is deleted stays, marked, and counts as suspended with everything below it; only a tenant is ever purged, and of it
//! what charges and the audit log refer to remains. A role that ends is dropped from memory by the first decision at or
//! after its moment ([`engine::Gate`]), and use cases read bindings with the time: no task has to run for it.
//!
//! Invariant: nobody gives what they do not hold, nor for longer than they hold it: by a binding, a new user's role or
//! teams, a role that they make or widen, a role template, or a token ([`domain::bindings::Authority::lasting`]).
//!
//! A binding refers to a role, built in or a tenant's own; in memory by index, so that a change of a role is one change for
//! everybody bound to it, in force when it is acknowledged, and a decision does no more for it. Seats are counted in the
//! transaction that gives a role, under the tenant's lock ([`app::seats`]).
//!
//! To share a workspace with a team is to bind a role to the team on it: there is no second way to do that. What a workspace
//! lays down ([`domain::policies`]) is enforced by the use case that makes what it speaks of, in the same transaction.
//!
//! # Who calls
//!
//! A bearer token says who calls, or the certificate that the connection was opened with ([`grpc::layers::authn`]). A token is
//! checked once and remembered; a certificate is checked by the handshake, and its SPIFFE id is looked up among those of the
//! service accounts ([`engine::spiffe_ids`]) on every call, which costs less than a token does. Whether the caller may act at
//! all is asked of the state each time, so that no list of what was revoked is needed.
//!
//! A token may rest on something that can end before it does ([`domain::tokens::Basis`]): a session, or the public key of a
//! service account that it was given for. Who ends one says so in the same transaction ([`app::tokens`]); the state keeps
//! what has ended until the last token on it has ended too ([`engine::ended_bases`]), and a call whose token rests on nothing
//! looks nothing up.
//!
//! The keys that tokens are signed with follow each other ([`engine::tokens`]): their public halves are rows, which every server
//! knows by the feed, the private ones are files, which a server looks for while it runs ([`runtime::signing`]). A token names
//! its key and ends no later than it; one that retires at once takes along what is remembered of its tokens.
//!
//! A service account has public keys of its own ([`app::service_account_keys`]); what its program signs with a private one is
//! exchanged, once, for a token that rests on the key ([`app::assertions`]). Anybody may ask for that, so nothing is locked
//! before the signature is known to be good, and whatever is wrong is answered in the same way. Invariant: to add a key needs
//! what a token for as long would need.
//!
//! A handshake runs beside the threads that serve ([`runtime::tls`]); a connection that is agreed on moves to its thread.
//! Nothing of it touches connections in plain text but one branch a read.
//!
//! Invariant: nothing is heard from a client whose certificate is no longer good. It is looked at before each read: by a
//! clock and a number, and by the whole check once a minute and when the authorities change ([`runtime::clients`]).
//!
//! # Signing in
//!
//! People sign in by a password ([`app::sessions`]), hashed with Argon2id beside everything else and a few at a time
//! ([`app::hasher`]). Whoever is not who they say is answered alike, after the same work: a password is hashed for nobody, too. Failures
//! slow down whoever tries, by account and by network, in each server's memory ([`domain::throttle`]).
//!
//! A session is a row that says which refresh token is its newest; the tokens themselves are authenticated texts
//! ([`domain::sealed`]) that no database holds. Invariant: of a session one refresh token is good, or the one that it was exchanged
//! for while its reply may have been lost ([`domain::sessions`]); one that is older was copied, and ends the session. To carry
//! a session on changes no record that decisions see, so it takes no place in the feed and in the audit log; its beginning and
//! its end do.
//!
//! An identity provider may say who somebody is, too ([`app::id_tokens`]): the server's settings list the issuers that it asks for
//! keys ([`app::issuers`]), so that nobody makes it ask anywhere else, and an owner names one of them. Invariant: one user is one
//! subject to a provider, from their first sign-in by it; an address that goes to somebody else later leads to nobody.
//!
//! # Joining and leaving
//!
//! Whoever is invited is a user from the beginning ([`app::invitations`]), so that lists show them, but holds nothing; accepting
//! ([`app::joining`]) is done by the authority of whoever invited, read in that transaction: what they could not give any more is
//! not given. The link's secret is stored as a keyed hash. A password may come along: it is hashed before the transaction, and only
//! for who has a good link, since anybody may ask. A mail is put into the outbox by the change that it is about
//! ([`app::mail`]), encrypted, and sent by a task of whichever server takes it first ([`runtime::mailer`]): at least once.
//!
//! Who is removed ([`app::removals`]), or is invited and does not come, is gone from every list, and their address is free; only an
//! id stays, for the keys that refer to it. Invariant: a tenant keeps an active owner: whatever could end that asks first
//! ([`app::bindings`]), under the tenant's lock, so that two who leave at once do not both find the other.
//!
//! # Keys
//!
//! Of a key's secret a keyed hash is stored, over all of its text, the prefix too ([`domain::key_secret`]): a production key
//! cannot be passed off as one for development. An unknown id costs what a wrong secret costs: a hash, and a look at some key's
//! row. A key that is rotated ([`app::key_rotation`]) has two secrets for a while, each with an id of its own that leads to the
//! same row; what there is to know of the older one stands beside the rows, for few keys have one at a time. Decisions end it at
//! its last moment, for good in that run, and a task takes it out of the books; it notes the time, too, as long as some secret
//! is to end, so that a start by a clock that was set back brings none back. Where a request has an id, its secret is
//! derived from that and the pepper ([`app::key_secrets`]): so it can be shown again when the answer was lost, and is stored nowhere.
//!
//! Peppers follow each other ([`domain::peppers`], [`runtime::peppers`]): files, or a setting, never rows; the database has their
//! fingerprints, from when on each is used for new secrets, and with each hash which one it was made under: in the engine six
//! spare bits of a key's row. A secret that is used and was hashed under an older one is noted by the call, which has hashed it
//! under the one in use anyway, and stored anew by a task a second later ([`engine::aged`], [`app::peppers`]): where it is still
//! what it was, so that a rotation that was faster wins, and as a change of the hash alone, so that nothing else of the key can
//! be taken back by it. Nobody can see a difference: it is not in the audit log. While some are hashed under an older one, a
//! wrong secret costs a second hash, and so does an unknown id, by the row that is looked at in its place. Invariant: what was
//! hashed under a pepper that is not at hand is refused; how much that is, the server says at its start and when one is taken
//! away. A pepper that is at hand and that the database does not know waits for `tollreeve peppers rotate`.
//!
//! What else is derived from the pepper (refresh tokens, links, password resets, page tokens, mails that wait, secrets that are shown
//! again) is made under the one in use and taken under any that is at hand. So when an old one is removed, whoever has not carried
//! on their session since the rotation signs in again, and links and mails of before it are dead.
//!
//! An allowlist is made into what a decision reads when its key is taken in ([`domain::rules`]): ranges in order, patterns as
//! the literals between their stars, looked for from left to right and never twice. Keys of equal lists share one.
//!
//! Whoever holds a key can have it revoked ([`app::leaks`]): they could do worse with it.
//!
//! A workspace lays down what its keys keep to ([`domain::key_policies`]; the limits are those of a role template's policy, and
//! are checked by the same code). It is asked when a key is made, is made wider or changes hands, and leaves alone what is there.
//! Which keys break it no index knows, for allowlists are among it: a review, and the retirement of what breaks it, look at a
//! thousand keys a call in the order of creation ([`app::key_reviews`]).
//!
//! A secret that is made under a policy of rotation has its due time and its deadline in the record of the key
//! ([`domain::key_schedule`]). To decisions a key has one end, the earlier of its own and the deadline, in the place that it had
//! anyway: exact, and no byte more. To management the two are different: what is past its deadline is alive, and works again with
//! another secret; the older one then works no longer than it would have. Nobody can be handed a secret, so they are warned
//! ([`app::key_warnings`]): the row says when next, by an index, and the transaction of the event and the mails moves that on.
//!
//! A lost key is regenerated by a rotation without overlap that replaces what it has. A call of its own would say nothing more:
//! the new secret is shown, and the old ones end, in the same commit.
//!
//! Invariant: the next warning changes only with a warning or another secret, whatever else is changed of the key.
//!
//! # The audit log
//!
//! The events of a tenant are the leaves of a Merkle tree ([`domain::audit_tree`]). The row that a change locks first holds the
//! tree's right edge, a hash for each bit of its size that is one, so that growing it costs one more statement whatever the size.
//! Of the rest only every eighth level is kept, beside the hashes of the leaves: a proof reads at most 256 of either between two
//! of its own, and one event in 256 costs a row more. What may be personal stands outside of the leaf, which has a salted hash of
//! it ([`domain::audit`]).
//!
//! A checkpoint ([`domain::checkpoint`]) is signed by a task, by the change that makes a thousand events full, or when somebody
//! asks ([`app::audit_tree`]); servers that sign at once sign the same. An export carries the checkpoints between its events, and is
//! checked by what is pure ([`domain::audit_export`]): the check is the same for the command line, a test, and somebody else's
//! program. Invariant: events and nodes are only added; the tables say so themselves (migration `audit_tree`). What is conceded:
//! who can write to the database and holds the signing key can make another log, which differs from any checkpoint kept elsewhere.
//!
//! # Last use
//!
//! When somebody or a key was last used is noted by a call in two bytes of a row that it reads anyway ([`engine::last_use`]),
//! and written down by a task once a minute and at an orderly stop, some rows a transaction. Nothing waits for it, and after
//! a crash the last minute is missing: it tells what has gone unused for months, and decides nothing.
//!
//! # Two walls
//!
//! Every statement asks for the rows of a tenant: that is the first wall. The second stands in `PostgreSQL`: row-level
//! security on every table, for those who own the tables as well (migration `walls`). A use case gives up the sight of all
//! rows but its tenant's and its caller's own tenant's before it does anything ([`store::Tx::wall`]); who is above
//! row-level security takes a role that is not. What is of all tenants by its nature keeps everything in sight: migrations,
//! the snapshot, the feed, the ledger, the search for a tenant by its name and the list of tenants for the platform. A
//! decision asks no database and passes neither wall: its state is built of everything, and a key leads to one tenant.
//!
//! Where a user is above row-level security and may take no role, the server says at its start that the second wall is
//! off. `pg_dump` as the owner of the tables needs `PGOPTIONS="-c tollreeve.tenants=*"` and `--enable-row-security`.
//!
//! Invariant: every table has the wall or is named in the test that looks for those without (`tests/it/p5_second_wall.rs`).
//!
//! # Lists
//!
//! A list is asked by a filter and an order over the fields of its noun ([`domain::listing`]); the statement is put together
//! from constant parts and binds every value ([`store::listing`]). A page begins after the last record of the page before,
//! so it is a range of an index; its token is authenticated together with the list it belongs to ([`app::listing`]).
//!
//! A search goes by the beginnings of words, which stand in a table of their own ([`store::search`]): a range of an index
//! too, on both databases and behind row-level security, which neither trigrams nor full-text indexes are there.
//!
//! # Prices
//!
//! What nearly every call is billed by stands in the record of a price ([`domain::prices`]); tiers of service, long contexts and
//! every other meter ([`domain::meters`]: sound, images, seconds, searches) are rates behind one pointer, which a call looks at
//! only when it has a say: in another tier, with quantities of its own, or with a context longer than some rate's bound. A cost
//! is a sum of products of whole numbers in 128 bits, rounded up once. Where a tier has no rate for a long context the standard
//! one counts: what is held is rather too much.
//!
//! A price file ([`domain::price_file`]) is read by the names of its members, digit by digit. What looks like a price and is not
//! understood is told, entry by entry and member by member; a model of text with a price for one side alone is not taken, so
//! that nobody gets the other for nothing.
//!
//! Whatever changes prices adds rows, a version of them ([`domain::price_versions`]), and never changes any. Of the rows for a
//! model, the one of the latest moment that has come counts, and of one moment the last; so a version that is planned takes effect
//! by itself, by the first decision at or after its moment ([`engine::price_book`]), and what is undone is set anew. What is
//! imported at once counts where it is known, whatever the clock shows there. A tenant's own prices are versions beside those of
//! all, and are looked at first; a tenant without any looks nothing up for it.
//!
//! A hold's token names its price by the row. A server that began when another had taken its place reads it then. Where a
//! workspace lays down a ceiling for models without a price, the token carries that itself.
//!
//! # Usage
//!
//! Whoever writes a batch of charges adds up what they come to, by hour and by day, in the same transaction
//! ([`store::usage`]): one statement for all sums of the batch, after everything else that it locks. So the sums are what the
//! charges come to at every moment, also after a crash; every test that looks at the books compares them. They count what
//! is new in the ledger, at what it costs there, in the hour in which it was recorded.
//!
//! What charges have in common is a series, which has a number; the number is a hash of all of it, so that no server has to
//! ask for it. There are three levels of them. By workspace, project, provider and model: few rows, however many keys there
//! are. By owner and key too. And the first once more for each team that the owner was in when the charge was taken in.
//! Servers have rows of their own, by the run they are, so that none waits for another's commit. A question ([`app::usage`])
//! finds the series that fit on the level that tells it with the fewest rows, and of each a range of sums: whole days by the
//! day, the ends by the hour.
//!
//! A month that is over is closed as a statement ([`app::statements`]), which the tables themselves keep from changing.
//! Invariant: the sums of a closed month are those of its statement. A charge that was taken in before the month ended and is
//! written only after the closing is recorded at that moment, in the month that runs ([`store::statements`]); the two wait for
//! each other, and no other charge asks.
//!
//! The log of requests are the charges themselves, by an index of time: one by owner would more than double what a charge
//! costs to write. What it does not tell is looked at charge by charge, of 40,000 at most for a page, and from the last hour
//! on in which the sums say that there is any.
//!
//! # Credit
//!
//! A workspace's credit is a hard budget over all time whose limit comes of entries ([`app::credits`]), which are only added,
//! under dense numbers. What spending draws on is worked out from them and from what the ledger has settled
//! ([`domain::credits`]), never written down beside it: so charges know nothing of entries, and write nothing more for them.
//!
//! When credit expires, the pool goes on in another period, as other budgets do at the end of a window; the record of the pool
//! says when. Memory moves on by the clock at the first decision at or after the moment ([`engine::periods`]), so that nothing
//! is decided on what has expired, whether or not anything has run. Whoever needs the new period first opens it in the ledger
//! ([`store::credit_pools`]), under what is left if all is spent that is set aside in older ones, where nothing is set aside any
//! more. What calls held stays theirs in their period and so comes out of what expires; what they did not use is gone as well, or
//! goes back to what does not expire. When nothing is set aside in the older periods, what expired is known, and a task writes it
//! down, once, as an entry ([`app::credit_expiry`]).
//!
//! Invariant: the limit of the period that runs is at most what all entries come to, less what has expired and what is spent or
//! may still be spent in older periods; so what is admitted never passes what is left, at whichever servers, and after a crash.
//!
//! What is conceded: a charge after the end of its hold, of a call from before a moment whose rest is written down already, is
//! paid by what is left, and may be told as an overrun; a server whose clock is behind the one that moved on first refuses until
//! its own gets there; and until servers have given back what they had set aside and nobody holds (seconds, or the folding of a
//! dead server's slices), a call may be refused that what is left would pay.
//!
//! A proof ([`domain::credit_proof`]) works all of it out anew from the entries and the postings of every charge, on one state of
//! the database and without a server.
//!
//! # Many servers
//!
//! Any number of servers share a PostgreSQL; SQLite has one, kept alone by a lock on the data folder. The same code runs on
//! both: one server is the case in which nobody else answers.
//!
//! The safety stands in two tiers. *Without any clock*: the tables' own conditions (`allocated <= ceiling`, `spent <=
//! granted`), unique charge ids, and acknowledgement after the commit. They hold whatever servers believe, so that money
//! settled under limits never passes them. *With clocks whose rates differ by at most 1 %* ([`engine::timing`]; what they show
//! may differ by anything): what is admitted never has to be settled past a limit, and no old state decides.
//!
//! * **Signs of life.** Every 750 ms, and at once after a change, a server writes that it lives and which revision its
//!   decisions see ([`engine::keeper`]). It decides only while the last one is fresh ([`engine::lease`]): 3 s, and as much
//!   longer as `max_stale_seconds` lets it go on without the database (such answers say so). The span counts from before the
//!   sign was sent, by two clocks, whichever shows more.
//! * **Death.** Whoever has seen no new sign of a server for longer than it answers without one, by their own clock, takes it
//!   for dead, if the sign is still the last one then. A server of the same `identity`, or one on the same machine that sees
//!   that the process has ended ([`runtime::process`]), need not wait. Who was taken for dead learns it from its next sign of
//!   life, answers nothing any more, and begins anew as another run.
//! * **What it had set aside** waits until the longest hold that was promised on it, and the grace, have passed since somebody
//!   saw it closing. Then any server folds it. An orderly stop gives back at once all that is not held.
//! * **A clock that stands still** with the whole machine shows in the clocks of the sidecars, when they send theirs
//!   ([`engine::witness`]): the server then asks whether it was taken for dead before it answers another call. A call that was
//!   kept on its way for longer than a charge may take is sent back.
//! * **Mail.** What one server does to a slice or hold of another (settles a charge out of it, lets it live longer, wants back
//!   what is not used) it writes down for the owner in the same transaction. Until the owner has read it, its memory errs on
//!   the safe side: what others took of a hold is still held there.
//!
//! Invariant: a hold that is over is freed only after its slice was read when every charge that was being written had been
//! written: another server may have settled it. Invariant: the ledger takes nothing out of a slice for its owner while the
//! owner does not know what others took of it; such a charge is written once more, with what the ledger knows.
//!
//! Room near a limit: a grant takes at most what somebody waits for and a share of the rest that shrinks with the rest and
//! with the number of servers. Who gets less than it needs asks the others, who give back what they do not use; the call
//! waits for that for a sixth of a second. A refusal rests on a look at the ledger that is at most a second old.
//!
//! Invariant: a change is acknowledged when every server that may be answering sees it. A server joins before it looks for the
//! last changes and answers afterwards, so that a change either waits for it or was seen by it. A lowered limit counts as
//! seen when what it takes away has been given back. Changes that only give are acknowledged when their own server sees them,
//! and at most a quarter of a second later. The bell ([`store::bell`]) only wakes: the feed is read all the same.
//!
//! * **A database that has forgotten** what it had committed (a standby that was behind has taken its place) shows in its
//!   timeline, or in a server's own signs of life. Nothing is written to the ledger then until every live server has said
//!   whether anything of its own is missing (`store/recovery.rs`). Whoever misses something puts it back: first what it had set
//!   aside, and when all have done so the last charges that it had acknowledged, which it keeps for that. Then it begins anew as
//!   another run, for what it believes and what is on record differ. A server that is taken for dead before it could say so may
//!   have set more aside than is known: nothing is set aside until no hold of its can live.
//!
//! What is conceded: charges whose server dies together with the memory of the database, and changes of the management plane
//! that it forgets, are lost; run one primary, or synchronous replication. A machine that is frozen for longer than others wait, and asked only by sidecars that it has never seen or
//! that send no clock, may decide by its old state for one interval after it thaws. After a server is taken for dead, a
//! charge marked as late goes against what the limit has left, never against the slice of its hold.
//!
//! # Threads
//!
//! Connections are dealt round-robin to threads with a single-threaded runtime each: a call never crosses threads, and a
//! socket is flushed once for many answers; small answers are gathered into one system call ([`runtime::wire`]).
//! Transactions and the tasks of the ledger run on a runtime beside them.

pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod engine;
pub mod grpc;
pub mod pb {
    //! What `proto/` compiles to.
    #![allow(missing_docs, clippy::all, clippy::pedantic)]
    include!(concat!(env!("OUT_DIR"), "/protos.rs"));

    /// Every message and service with its comments, as reflection serves it.
    pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
}
pub mod runtime;
pub mod store;
