-- What becomes of a hold on a budget that is never charged: `release` or `charge_full`.
ALTER TABLE budgets ADD COLUMN on_expiry TEXT NOT NULL DEFAULT 'release';
