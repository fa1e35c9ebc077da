//! Names and their keys.

use std::collections::HashMap;

use super::{EndpointKey, RouteKey, SloKey};

/// Gives each name its key, once for the life of the process: a route keeps its counters over a reload, and one that
/// comes back finds them again. So does an SLO, as long as it counts the same.
#[derive(Clone, Debug)]
pub struct Directory {
    routes: Names,
    slos: Names,
    /// What each SLO counts, by key.
    counted: Vec<String>,
    endpoints: Names,
}

/// More names than this are refused, so that reloads with ever new names cannot grow every table for ever.
pub const MAX_NAMES: usize = 65_536;

/// The directory is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process has seen {MAX_NAMES} different names; restart it to forget those no longer in use"
)]
pub struct Full;

#[derive(Clone, Debug, Default)]
struct Names {
    by_key: Vec<String>,
    by_name: HashMap<String, u32>,
}

impl Names {
    fn intern(&mut self, name: &str) -> Result<u32, Full> {
        match self.by_name.get(name) {
            Some(key) => Ok(*key),
            None => self.append(name),
        }
    }

    /// Gives a name a new key, whether it has one or not.
    fn append(&mut self, name: &str) -> Result<u32, Full> {
        if self.by_key.len() >= MAX_NAMES {
            return Err(Full);
        }
        let key = self.by_key.len() as u32;
        self.by_key.push(name.to_owned());
        self.by_name.insert(name.to_owned(), key);
        Ok(key)
    }

    fn name(&self, key: usize) -> &str {
        self.by_key.get(key).map_or("", String::as_str)
    }
}

impl Default for Directory {
    fn default() -> Self {
        let mut routes = Names::default();
        routes.by_key.push(NO_ROUTE.to_owned());
        routes.by_name.insert(NO_ROUTE.to_owned(), RouteKey::NONE.0);
        Self {
            routes,
            slos: Names::default(),
            counted: Vec::new(),
            endpoints: Names::default(),
        }
    }
}

/// The name of [`RouteKey::NONE`].
pub const NO_ROUTE: &str = "none";

impl Directory {
    /// The key of a route.
    pub fn route(&mut self, id: &str) -> Result<RouteKey, Full> {
        self.routes.intern(id).map(RouteKey)
    }

    /// The key of an SLO that counts `counted` (see [`super::Slo::counted`]). One that counts something else under the
    /// same id is another SLO: it begins from nothing, also when it comes back.
    pub fn slo(&mut self, id: &str, counted: &str) -> Result<SloKey, Full> {
        if let Some(key) = self.find_slo(id)
            && self.counted(key) == counted
        {
            return Ok(key);
        }
        let key = self.slos.append(id)?;
        self.counted.push(counted.to_owned());
        Ok(SloKey(key))
    }

    /// What an SLO counts; empty for a key this directory did not give.
    pub fn counted(&self, key: SloKey) -> &str {
        self.counted.get(key.index()).map_or("", String::as_str)
    }

    /// The key that the SLO of an id has now.
    pub fn find_slo(&self, id: &str) -> Option<SloKey> {
        self.slos.by_name.get(id).copied().map(SloKey)
    }

    /// The key of an endpoint: the same address in two upstreams is two endpoints.
    pub fn endpoint(&mut self, upstream: &str, address: &str) -> Result<EndpointKey, Full> {
        self.endpoints
            .intern(&format!("{upstream} {address}"))
            .map(EndpointKey)
    }

    /// The key of an endpoint that was named before.
    pub fn find_endpoint(&self, upstream: &str, address: &str) -> Option<EndpointKey> {
        self.endpoints
            .by_name
            .get(&format!("{upstream} {address}"))
            .copied()
            .map(EndpointKey)
    }

    /// The id of a route; empty for a key this directory did not give.
    pub fn route_id(&self, key: RouteKey) -> &str {
        self.routes.name(key.index())
    }

    /// The id of an SLO; empty for a key this directory did not give.
    pub fn slo_id(&self, key: SloKey) -> &str {
        self.slos.name(key.index())
    }

    /// The upstream and the address of an endpoint; empty for a key this directory did not give.
    pub fn endpoint_name(&self, key: EndpointKey) -> (&str, &str) {
        self.endpoints
            .name(key.index())
            .split_once(' ')
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_key_and_no_route_is_key_zero() {
        let mut directory = Directory::default();
        let shop = directory.route("shop").unwrap();
        assert_eq!(directory.route("shop"), Ok(shop));
        assert_eq!(directory.route(NO_ROUTE), Ok(RouteKey::NONE));
        assert_eq!(directory.route_id(shop), "shop");
        let one = directory.endpoint("a", "http://x:1").unwrap();
        assert_ne!(directory.endpoint("b", "http://x:1"), Ok(one));
        assert_eq!(directory.endpoint_name(one), ("a", "http://x:1"));
    }

    #[test]
    fn an_slo_that_counts_something_else_is_another_one() {
        let mut directory = Directory::default();
        let first = directory.slo("a", "all").unwrap();
        assert_eq!(directory.slo("a", "all"), Ok(first));
        let second = directory.slo("a", "some").unwrap();
        assert_ne!(second, first);
        assert_eq!(directory.find_slo("a"), Some(second));
        assert_eq!(
            (directory.counted(first), directory.counted(second)),
            ("all", "some")
        );
        assert_eq!(
            (directory.slo_id(first), directory.slo_id(second)),
            ("a", "a")
        );
        let third = directory.slo("a", "all").unwrap();
        assert!(third != first && third != second);
    }

    #[test]
    fn a_full_directory_still_knows_what_it_knew() {
        let mut directory = Directory::default();
        for index in 0..MAX_NAMES {
            directory.slo(&index.to_string(), "").unwrap();
        }
        assert_eq!(directory.slo("one more", ""), Err(Full));
        assert_eq!(directory.slo("7", ""), Ok(SloKey(7)));
    }
}
