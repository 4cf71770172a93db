-- Mails on their way. A change puts its mail here in its own transaction; a task of every server takes what is due, sends it
-- and says what came of it. Who takes a mail moves `due` past the time that sending it may take: when it is due again and
-- still waiting, whoever took it has gone.
CREATE TABLE mail (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    -- Id of what it is about, so that it can be withdrawn with that.
    about TEXT COLLATE "C" NOT NULL,
    recipient TEXT COLLATE "C" NOT NULL,
    -- What it says, encrypted under a key that is not in the database: it may have a link in it. Empty once it is done.
    sealed TEXT COLLATE "C" NOT NULL,
    -- waiting, sent, failed or withdrawn.
    state TEXT COLLATE "C" NOT NULL,
    -- How often it was taken to be sent.
    attempts BIGINT NOT NULL,
    -- When it is to be taken next.
    due BIGINT NOT NULL,
    -- What went wrong last.
    problem TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    -- When it was sent, given up or withdrawn.
    done BIGINT
);
CREATE INDEX mail_due ON mail (due) WHERE state = 'waiting';
CREATE INDEX mail_about ON mail (tenant_id, about) WHERE state = 'waiting';
CREATE INDEX mail_done ON mail (done) WHERE state <> 'waiting';

-- What a tenant's mails and front ends look like, as JSON; empty for what a new tenant has.
ALTER TABLE tenants ADD COLUMN branding TEXT COLLATE "C" NOT NULL DEFAULT '';
