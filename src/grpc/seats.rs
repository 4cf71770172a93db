//! What messages of seats mean.

use super::parse::{self, FieldError, invalid};
use crate::{
    app::seats::{GetSeats, NamedSeats, UpdateSeats},
    domain::seats::{MAX_LIMITS, MAX_SEATS},
    pb::tollreeve::v1 as pb,
};

impl From<NamedSeats> for pb::Seats {
    fn from(named: NamedSeats) -> Self {
        let count = |(role, seats, taken)| pb::SeatCount { role, seats, taken };
        Self {
            name: named.name.to_string(),
            limits: named.limits.into_iter().map(|(role, seats)| pb::SeatLimit { role, seats }).collect(),
            counts: named.counts.into_iter().map(count).collect(),
            etag: parse::etag(named.version),
        }
    }
}

impl TryFrom<pb::UpdateSeatsRequest> for UpdateSeats {
    type Error = FieldError;

    fn try_from(request: pb::UpdateSeatsRequest) -> Result<Self, FieldError> {
        if request.limits.len() > MAX_LIMITS {
            return Err(invalid("limits", format!("must be at most {MAX_LIMITS}")));
        }
        let limit = |(i, limit): (usize, &pb::SeatLimit)| {
            let role = parse::required(&format!("limits[{i}].role"), &limit.role)?;
            Ok((role, parse::within(&format!("limits[{i}].seats"), limit.seats, 0, MAX_SEATS)?))
        };
        Ok(Self {
            name: parse::required("name", &request.name)?,
            limits: request.limits.iter().enumerate().map(limit).collect::<Result<_, FieldError>>()?,
            version: parse::version(&request.etag),
        })
    }
}

asks_by_name! {
    GetSeatsRequest => GetSeats;
}

intended!(UpdateSeatsRequest);

answers_one! {
    NamedSeats as seats: read GetSeatsResponse;
    changed UpdateSeatsResponse;
}
