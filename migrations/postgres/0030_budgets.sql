-- Budgets by the clock of a zone and from an anchor, with thresholds of their own, that can be paused.
-- By whose clock periods begin, and on which day of the week or of the month: `Europe/Berlin@31`.
ALTER TABLE budgets ADD COLUMN calendar TEXT COLLATE "C" NOT NULL DEFAULT 'UTC@1';
-- Percentages, ascending, separated by spaces.
ALTER TABLE budgets ADD COLUMN thresholds TEXT COLLATE "C" NOT NULL DEFAULT '70 90 100';
ALTER TABLE budgets ADD COLUMN paused BOOLEAN NOT NULL DEFAULT FALSE;
