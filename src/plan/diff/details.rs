//! Which parts of a thing are different, in the configuration's words.
//!
//! The reader holds them against what he has just typed, so each goes by its key, with the new value and the old one as he
//! would write them. Not so where a value may be a secret, as that of a header or a cookie's, or a page long: what a plan
//! says ends in logs and tickets, so there the key has to do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};

use crate::config::units::{self, Size, Unit};
use crate::plan::Address;

/// Parts that are different, in the order in which they were looked at.
#[derive(Debug, Default)]
pub struct Details(Vec<String>);

impl Details {
    /// A key; where its values differ, both are told.
    pub fn told<T: PartialEq + Told>(&mut self, key: &str, old: &T, new: &T) {
        if old != new {
            self.line(format!("{key} {} (was {})", new.told(), old.told()));
        }
    }

    /// A key whose values are not told.
    pub fn named<T: PartialEq>(&mut self, key: &str, old: &T, new: &T) {
        if old != new {
            self.line(key.to_owned());
        }
    }

    /// What no key says.
    pub fn line(&mut self, line: String) {
        self.0.push(line);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them.
    pub fn into_lines(self) -> Vec<String> {
        self.0
    }
}

/// A value as the configuration has it.
pub trait Told {
    /// On one line.
    fn told(&self) -> String;
}

macro_rules! told_as_shown {
    ($($type:ty),*) => {
        $(impl Told for $type {
            fn told(&self) -> String {
                self.to_string()
            }
        })*
    };
}

told_as_shown!(bool, u8, u16, u32, usize, String, &str, Arc<str>, SocketAddr, Address, HeaderName, Method);

impl<T: Told> Told for Option<T> {
    fn told(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), Told::told)
    }
}

impl<T: Told> Told for Vec<T> {
    fn told(&self) -> String {
        let items: Vec<_> = self.iter().map(Told::told).collect();
        if items.is_empty() { "none".to_owned() } else { format!("[{}]", items.join(", ")) }
    }
}

impl Told for Duration {
    fn told(&self) -> String {
        match u64::try_from(self.as_millis()) {
            Ok(0) => "none".to_owned(),
            Ok(millis) => units::Duration::from_millis(millis).write(),
            Err(_) => format!("{self:?}"),
        }
    }
}

impl Told for Size {
    fn told(&self) -> String {
        self.write()
    }
}

/// A share, of a hundred.
#[derive(PartialEq)]
pub struct Percent(pub u8);

impl Told for Percent {
    fn told(&self) -> String {
        format!("{}%", self.0)
    }
}
