//! Whether a rule's conditions hold, and how two rules' conditions relate.

use http::Method;

use super::{Conditions, Lookup, query};

impl Conditions {
    /// How specific they are; see [Precedence](super#precedence).
    pub fn count(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.headers.len() + self.query.len()
    }

    /// Whether a request fulfils them all.
    pub fn hold(&self, request: &Lookup<'_>) -> bool {
        self.allow(request.method) && self.hold_but_for_method(request)
    }

    /// Whether a request fulfils all that is not about its method.
    pub fn hold_but_for_method(&self, request: &Lookup<'_>) -> bool {
        let sent = |name, value| request.headers.get_all(name).iter().any(|line| line == value);
        self.headers.iter().all(|(name, value)| sent(name, value))
            && self.query.iter().all(|(name, value)| query::has(request.query, name, value))
    }

    /// Whether the method is one of theirs.
    fn allow(&self, method: &Method) -> bool {
        self.methods.is_empty()
            || self.methods.contains(method)
            || (method == Method::HEAD && self.methods.contains(&Method::GET))
    }

    /// The methods that they allow, `HEAD` beside `GET`; none when they allow every one. May hold doubles.
    pub fn allowed(&self) -> impl Iterator<Item = Method> {
        let head = self.methods.contains(&Method::GET).then_some(Method::HEAD);
        self.methods.iter().cloned().chain(head)
    }

    /// Whether `HEAD` is written in them, not only implied by `GET`.
    pub(super) fn name_head(&self) -> bool {
        self.methods.contains(&Method::HEAD)
    }

    /// Whether a method can be one of both, going by what is written.
    pub(super) fn share_a_method(&self, other: &Conditions) -> bool {
        let every = self.methods.is_empty() || other.methods.is_empty();
        every || self.methods.iter().any(|method| other.methods.contains(method))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    const X: HeaderName = HeaderName::from_static("x");

    fn sent(conditions: &Conditions, method: Method, lines: &[&'static str], query: &str) -> bool {
        let headers: HeaderMap = lines.iter().map(|value| (X, HeaderValue::from_static(value))).collect();
        conditions.hold(&Lookup { host: "", path: "/", query, method: &method, headers: &headers })
    }

    #[test]
    fn no_conditions_always_hold() {
        assert!(sent(&Conditions::default(), Method::PATCH, &[], ""));
        assert_eq!(Conditions::default().count(), 0);
    }

    #[test]
    fn any_method_of_the_list_will_do_and_get_takes_head() {
        let conditions = Conditions { methods: vec![Method::GET, Method::PUT], ..Conditions::default() };
        assert_eq!(conditions.count(), 1);
        for (method, holds) in [("GET", true), ("HEAD", true), ("PUT", true), ("POST", false), ("get", false)]
        {
            assert_eq!(sent(&conditions, method.parse().unwrap(), &[], ""), holds, "{method}");
        }
    }

    #[test]
    fn head_does_not_take_get() {
        let conditions = Conditions { methods: vec![Method::HEAD], ..Conditions::default() };
        assert!(!sent(&conditions, Method::GET, &[], ""));
    }

    #[test]
    fn one_line_of_a_header_is_enough() {
        let headers = vec![(X, HeaderValue::from_static("2"))];
        let conditions = Conditions { headers, ..Conditions::default() };
        for (lines, holds) in [(&["2"][..], true), (&["1", "2"], true), (&["1, 2"], false), (&[], false)] {
            assert_eq!(sent(&conditions, Method::GET, lines, ""), holds, "{lines:?}");
        }
    }

    #[test]
    fn every_condition_counts_and_must_hold() {
        let conditions = Conditions {
            methods: vec![Method::GET],
            headers: vec![(X, HeaderValue::from_static("2"))],
            query: vec![("a".into(), "1".into()), ("b".into(), String::new())],
        };
        assert_eq!(conditions.count(), 4);
        assert!(sent(&conditions, Method::GET, &["2"], "b&a=1"));
        assert!(!sent(&conditions, Method::GET, &["2"], "a=1"));
        assert!(!sent(&conditions, Method::GET, &[], "b&a=1"));
        assert!(!sent(&conditions, Method::PUT, &["2"], "b&a=1"));
    }
}
