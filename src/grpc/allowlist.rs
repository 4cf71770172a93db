//! What an allowlist means: each entry is checked when it is written, so that no decision meets a strange one.

use std::net::IpAddr;

use ipnet::IpNet;

use super::parse::{FieldError, invalid};
use crate::{
    domain::{
        keys::{Allowlist, MAX_ALLOWLIST},
        permission::{Permission, PermissionSet},
    },
    pb::tollreeve::v1 as pb,
};

/// Longest model or endpoint, in characters.
const MAX_PATTERN: usize = 256;
/// Longest name of a host, in characters; RFC 1035.
const MAX_HOST: usize = 253;

impl TryFrom<pb::Allowlist> for Allowlist {
    type Error = FieldError;

    fn try_from(list: pb::Allowlist) -> Result<Self, FieldError> {
        let permissions: Vec<Permission> = entries("permissions", &list.permissions, |text| {
            text.parse().map_err(|error: crate::domain::permission::UnknownPermission| error.to_string())
        })?;
        Ok(Self {
            cidrs: entries("cidrs", &list.cidrs, range)?,
            origins: entries("origins", &list.origins, origin)?,
            models: entries("models", &list.models, pattern)?,
            endpoints: entries("endpoints", &list.endpoints, |text| match text.strip_prefix('/') {
                Some(_) => pattern(text),
                None => Err("must start with a slash".to_owned()),
            })?,
            permissions: (!permissions.is_empty()).then(|| PermissionSet::of(&permissions)),
        })
    }
}

impl From<Allowlist> for pb::Allowlist {
    fn from(list: Allowlist) -> Self {
        Self {
            cidrs: list.cidrs.iter().map(ToString::to_string).collect(),
            origins: list.origins,
            models: list.models,
            endpoints: list.endpoints,
            permissions: list.permissions.iter().flat_map(|set| set.iter()).map(|p| p.to_string()).collect(),
        }
    }
}

/// Reads one list; an error names the entry.
fn entries<T>(list: &str, texts: &[String], read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, FieldError> {
    if texts.len() > MAX_ALLOWLIST {
        return Err(invalid(format!("key.allowlist.{list}"), format!("must have at most {MAX_ALLOWLIST} entries")));
    }
    let entry =
        |(i, text): (usize, &String)| read(text).map_err(|why| invalid(format!("key.allowlist.{list}[{i}]"), why));
    texts.iter().enumerate().map(entry).collect()
}

/// An address or a range of them. What lies in the part of IPv6 that stands for IPv4 is kept as IPv4, which is how the
/// addresses of callers are compared.
fn range(text: &str) -> Result<IpNet, String> {
    let range = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let range = range.map_err(|_| "must be an IP address or a CIDR range".to_owned())?.trunc();
    match (range.addr().to_canonical(), range.prefix_len().checked_sub(96)) {
        (addr @ IpAddr::V4(_), Some(len)) if range.addr().is_ipv6() => {
            IpNet::new(addr, len).map_err(|error| error.to_string())
        }
        _ => Ok(range),
    }
}

/// The name of a host, or `*.` and the name that it is to be below.
fn origin(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("*.").unwrap_or(text);
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if host.len() <= MAX_HOST && host.split('.').all(label) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("must be a host name like `app.example.com` or `*.example.com`".to_owned())
    }
}

/// A text in which `*` stands for any other.
fn pattern(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().count() > MAX_PATTERN {
        Err(format!("must have 1 to {MAX_PATTERN} characters"))
    } else if text.contains("**") || text.chars().any(char::is_control) {
        Err("must not have one `*` after another, or control characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: pb::Allowlist) -> Result<Allowlist, FieldError> {
        list.try_into()
    }

    #[test]
    fn an_empty_list_is_open_and_a_full_one_reads_back_as_it_was_written() {
        assert!(read(pb::Allowlist::default()).expect("empty").is_open());
        let full = pb::Allowlist {
            cidrs: vec!["203.0.113.7/32".into(), "2001:db8::/32".into()],
            origins: vec!["*.example.com".into()],
            models: vec!["gpt-4*".into(), "gpt-*-mini".into()],
            endpoints: vec!["/v1/*/completions".into()],
            permissions: vec!["models:invoke".into()],
        };
        assert_eq!(pb::Allowlist::from(read(full.clone()).expect("full")), full);
    }

    #[test]
    fn a_strange_entry_is_refused_by_its_place() {
        let refused = |list| read(list).map_err(|error| error.field).expect_err("a strange entry");
        let texts = |bad: &str| vec!["ok".to_owned(), bad.to_owned()];
        assert_eq!(
            refused(pb::Allowlist { cidrs: vec!["10.0.0.0/33".into()], ..Default::default() }),
            "key.allowlist.cidrs[0]"
        );
        for bad in ["", "https://a.test", "a..b", "*", "a*b"] {
            assert_eq!(
                refused(pb::Allowlist { origins: texts(bad), ..Default::default() }),
                "key.allowlist.origins[1]"
            );
        }
        for bad in ["", "a**b", "**", "a\n"] {
            assert_eq!(refused(pb::Allowlist { models: texts(bad), ..Default::default() }), "key.allowlist.models[1]");
        }
        let many = vec!["a".to_owned(); MAX_ALLOWLIST + 1];
        assert_eq!(refused(pb::Allowlist { models: many, ..Default::default() }), "key.allowlist.models");
    }

    #[test]
    fn ranges_are_kept_in_the_form_in_which_addresses_are_compared() {
        assert_eq!(range("10.1.2.3/8").map(|r| r.to_string()), Ok("10.0.0.0/8".to_owned()));
        assert_eq!(range("::ffff:10.0.0.0/104").map(|r| r.to_string()), Ok("10.0.0.0/8".to_owned()));
        assert_eq!(range("203.0.113.7").map(|r| r.to_string()), Ok("203.0.113.7/32".to_owned()));
    }
}
