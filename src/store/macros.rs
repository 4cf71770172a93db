//! One body for both databases: each macro runs the same statement with the same binds on whichever it is.

/// Runs a statement, gives how many rows it changed.
macro_rules! execute {
    ($tx:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match $tx {
            $crate::store::Tx::Sqlite(tx) => {
                sqlx::query($sql)$(.bind($bind))*.execute(&mut **tx).await.map(|done| done.rows_affected())
            }
            $crate::store::Tx::Postgres(tx) => {
                let done = sqlx::query($sql)$(.bind($bind))*.execute(&mut **tx);
                $crate::store::in_time(done).await.map(|done| done.rows_affected())
            }
        }
    };
}

/// Runs a query, gives every row as a tuple of type `$row`.
macro_rules! fetch_all {
    ($tx:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => {
        match $tx {
            $crate::store::Tx::Sqlite(tx) => sqlx::query_as::<_, $row>($sql)$(.bind($bind))*.fetch_all(&mut **tx).await,
            $crate::store::Tx::Postgres(tx) => {
                let rows = sqlx::query_as::<_, $row>($sql)$(.bind($bind))*.fetch_all(&mut **tx);
                $crate::store::in_time(rows).await
            }
        }
    };
}

/// Runs a query, gives its row as a tuple of type `$row`, if there is one.
macro_rules! fetch_optional {
    ($tx:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => {
        match $tx {
            $crate::store::Tx::Sqlite(tx) => {
                sqlx::query_as::<_, $row>($sql)$(.bind($bind))*.fetch_optional(&mut **tx).await
            }
            $crate::store::Tx::Postgres(tx) => {
                let row = sqlx::query_as::<_, $row>($sql)$(.bind($bind))*.fetch_optional(&mut **tx);
                $crate::store::in_time(row).await
            }
        }
    };
}

/// Runs a query that always has a row, gives it as a tuple of type `$row`.
macro_rules! fetch_one {
    ($tx:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => {
        match $tx {
            $crate::store::Tx::Sqlite(tx) => sqlx::query_as::<_, $row>($sql)$(.bind($bind))*.fetch_one(&mut **tx).await,
            $crate::store::Tx::Postgres(tx) => {
                let row = sqlx::query_as::<_, $row>($sql)$(.bind($bind))*.fetch_one(&mut **tx);
                $crate::store::in_time(row).await
            }
        }
    };
}

/// Runs the statement that a builder makes for whichever database, gives every row as a `$row`. Not kept prepared: which
/// index is best depends on the values, and a plan for any values would not look at them.
macro_rules! fetch_built {
    ($tx:expr, $row:ty, $built:expr) => {
        match $tx {
            $crate::store::Tx::Sqlite(tx) => {
                let mut statement: sqlx::QueryBuilder<sqlx::Sqlite> = $built;
                statement.build_query_as::<$row>().persistent(false).fetch_all(&mut **tx).await
            }
            $crate::store::Tx::Postgres(tx) => {
                let mut statement: sqlx::QueryBuilder<sqlx::Postgres> = $built;
                let rows = statement.build_query_as::<$row>().persistent(false).fetch_all(&mut **tx);
                $crate::store::in_time(rows).await
            }
        }
    };
}
