//! The shapes that most messages have, so that the files beside this one say only what is different.

/// Messages that carry nothing but a name, and the use case that each asks for; with fields that are the same for all.
macro_rules! asks_by_name {
    ($($message:ident => $asked:ident $({ $($field:ident: $value:expr),+ })?;)+) => {$(
        impl TryFrom<$crate::pb::tollreeve::v1::$message> for $asked {
            type Error = $crate::grpc::parse::FieldError;

            fn try_from(
                request: $crate::pb::tollreeve::v1::$message,
            ) -> Result<Self, $crate::grpc::parse::FieldError> {
                Ok(Self { name: $crate::grpc::parse::required("name", &request.name)?, $($($field: $value),+)? })
            }
        }
    )+};
}

/// Messages that carry a name and perhaps an etag, and the edit that each asks for.
macro_rules! asks_for_edit {
    ($asked:ident { $($message:ident => $edit:expr;)* } with etag { $($careful:ident => $what:expr;)+ }) => {
        $(asks_by_name! { $message => $asked { version: None, edit: $edit }; })*
        $(impl TryFrom<$crate::pb::tollreeve::v1::$careful> for $asked {
            type Error = $crate::grpc::parse::FieldError;

            fn try_from(
                request: $crate::pb::tollreeve::v1::$careful,
            ) -> Result<Self, $crate::grpc::parse::FieldError> {
                let version = $crate::grpc::parse::version(&request.etag);
                Ok(Self { name: $crate::grpc::parse::required("name", &request.name)?, version, edit: $what })
            }
        })+
    };
}

/// Messages that say how they are to be taken.
macro_rules! intended {
    ($($message:ident),+) => {$(
        impl $crate::grpc::services::Intended for $crate::pb::tollreeve::v1::$message {
            fn request_id(&self) -> &str {
                &self.request_id
            }

            fn validate_only(&self) -> bool {
                self.validate_only
            }
        }
    )+};
}

/// Messages that ask for a page of what a parent has, by a filter and in an order.
macro_rules! asks_for_listing {
    ($($message:ident => $asked:ident by $fields:expr $(, $deleted:ident)?;)+) => {$(
        impl TryFrom<$crate::pb::tollreeve::v1::$message> for $asked {
            type Error = $crate::grpc::parse::FieldError;

            fn try_from(
                request: $crate::pb::tollreeve::v1::$message,
            ) -> Result<Self, $crate::grpc::parse::FieldError> {
                let parent = $crate::grpc::parse::required("parent", &request.parent)?;
                let page = $crate::grpc::parse::page(request.page_size, &request.page_token)?;
                let (filter, order) = (&request.filter, &request.order_by);
                let deleted = [$(request.$deleted)?].contains(&true);
                let listing = $crate::grpc::parse::listing(page, filter, order, deleted, $fields)?;
                Ok(Self { parent, listing })
            }
        }
    )+};
}

/// Answers that carry one record: as it was read, or after a change and with its revision.
macro_rules! answers_one {
    ($record:ident as $field:ident: read $($read:ident),+; $(changed $($changed:ident),+;)?) => {
        $(impl From<$record> for $crate::pb::tollreeve::v1::$read {
            fn from(record: $record) -> Self {
                Self { $field: Some(record.into()) }
            }
        })+
        $($(impl From<$crate::app::Changed<$record>> for $crate::pb::tollreeve::v1::$changed {
            fn from(changed: $crate::app::Changed<$record>) -> Self {
                Self { $field: Some(changed.record.into()), revision: changed.revision }
            }
        })+)?
    };
}

/// Answers that carry a page of records.
macro_rules! answers_page {
    ($record:ident as $field:ident: $answer:ident) => {
        impl From<$crate::app::Listed<$record>> for $crate::pb::tollreeve::v1::$answer {
            fn from(listed: $crate::app::Listed<$record>) -> Self {
                Self {
                    $field: listed.records.into_iter().map(Into::into).collect(),
                    next_page_token: $crate::grpc::parse::page_token(&listed.next),
                }
            }
        }
    };
}
