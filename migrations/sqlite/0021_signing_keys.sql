-- The keys that tokens are signed with: their public halves. The private ones are files.
CREATE TABLE signing_keys (
    kid TEXT NOT NULL PRIMARY KEY,
    -- PEM, SubjectPublicKeyInfo.
    public_key TEXT NOT NULL,
    created BIGINT NOT NULL,
    -- From when on no token is taken that is signed with it.
    retires BIGINT
);
