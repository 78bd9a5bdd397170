use std::{sync::Arc, time::Duration};

use longshore_core::{Clock, Endpoint, Error, OsRandom, Random, Result};

use super::{secret::StoreCredentials, tls::StoreTls};

/// How to reach a key-value store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreOptions {
    /// Its servers. The first is asked first; another one when it can't be reached.
    pub endpoints: Vec<Endpoint>,
    /// Where waiting takes its time from.
    pub clock: Arc<dyn Clock>,
    /// Where the jitter of retries comes from.
    pub random: Arc<dyn Random>,
    /// TLS, or none.
    pub tls: Option<StoreTls>,
    /// Who we are, or nobody.
    pub credentials: Option<StoreCredentials>,
    /// How long one request may take, 5 s.
    pub request_limit: Duration,
    /// How long one connection attempt may take, 2 s.
    pub connect_limit: Duration,
    /// The largest answer that is read, 64 MiB.
    pub largest_answer: usize,
    /// How many requests may be under way at once, 64. Others wait for their turn. What waits for
    /// news, as watches do, is not counted.
    pub most_requests: usize,
}

impl StoreOptions {
    /// These servers, without TLS and credentials.
    ///
    /// # Errors
    /// There is no server, or more than 64.
    pub fn new(endpoints: Vec<Endpoint>, clock: Arc<dyn Clock>) -> Result<Self> {
        if endpoints.is_empty() || endpoints.len() > MOST_ENDPOINTS {
            return Err(Error::invalid(format!(
                "a store has 1 to {MOST_ENDPOINTS} servers, not {}",
                endpoints.len()
            )));
        }
        if let Some(endpoint) = endpoints
            .iter()
            .find(|endpoint| endpoint.port() == 0 || endpoint.host().is_empty())
        {
            return Err(Error::invalid(format!(
                "address {endpoint}: a store's address is a host and a port from 1 to 65535"
            )));
        }
        Ok(Self {
            endpoints,
            clock,
            random: Arc::new(OsRandom),
            tls: None,
            credentials: None,
            request_limit: Duration::from_secs(5),
            connect_limit: Duration::from_secs(2),
            largest_answer: 64 << 20,
            most_requests: 64,
        })
    }

    /// Sets where jitter comes from.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// Uses TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: StoreTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Says who we are.
    #[must_use]
    pub fn with_credentials(mut self, credentials: StoreCredentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Sets how long one request may take.
    #[must_use]
    pub fn with_request_limit(mut self, limit: Duration) -> Self {
        self.request_limit = limit;
        self
    }

    /// Sets how long one connection attempt may take.
    #[must_use]
    pub fn with_connect_limit(mut self, limit: Duration) -> Self {
        self.connect_limit = limit;
        self
    }

    /// Sets the largest answer that is read, in bytes.
    #[must_use]
    pub fn with_largest_answer(mut self, bytes: usize) -> Self {
        self.largest_answer = bytes;
        self
    }

    /// Sets how many requests may be under way at once; at least one.
    #[must_use]
    pub fn with_most_requests(mut self, requests: usize) -> Self {
        self.most_requests = requests.max(1);
        self
    }

    /// The servers for people: `scheme://a:1,b:2`.
    pub(crate) fn describe(&self, scheme: &str) -> String {
        let endpoints: Vec<_> = self.endpoints.iter().map(ToString::to_string).collect();
        format!("{scheme}://{}", endpoints.join(","))
    }
}

const MOST_ENDPOINTS: usize = 64;
