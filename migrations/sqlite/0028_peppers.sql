-- Peppers follow each other; what they are is not in this database.
-- Which one the newest secret of a key is hashed under; of the one before it, that stands in `secrets`.
ALTER TABLE api_keys ADD COLUMN pepper BIGINT NOT NULL DEFAULT 1;
-- From when on a pepper is used for new secrets; nothing for other key files.
ALTER TABLE keyring ADD COLUMN since BIGINT NOT NULL DEFAULT 0;
