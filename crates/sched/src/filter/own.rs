use std::{fmt::Debug, ops::RangeInclusive};

use longshore_core::{Bytes, MilliCpu, NodeState, PlacementRequest, ServiceName};

use crate::{index::Node, resource::Resource};

/// A filter of the embedding program (S19).
///
/// It must follow from its arguments alone: the same request and node, the same answer. It is asked
/// for each node that the built-in filters leave, so it should be quick.
///
/// ```
/// use longshore_core::PlacementRequest;
/// use longshore_sched::{ClusterScheduler, NodeFilter, NodeView};
///
/// /// No more than so many replicas of a service on one node.
/// #[derive(Debug)]
/// struct MaxReplicas(usize);
///
/// impl NodeFilter for MaxReplicas {
///     fn name(&self) -> &str {
///         "max-replicas"
///     }
///
///     fn check(&self, request: &PlacementRequest, node: &NodeView<'_>) -> Result<(), String> {
///         let Some(service) = &request.service else { return Ok(()) };
///         match node.replicas(service) {
///             there if there < self.0 => Ok(()),
///             there => Err(format!("{there} replicas of {service} are there, at most {} may be", self.0)),
///         }
///     }
/// }
///
/// let scheduler = ClusterScheduler::builder().own_filter(MaxReplicas(2)).build();
/// ```
pub trait NodeFilter: Debug + Send + Sync + 'static {
    /// Its name in explanations.
    fn name(&self) -> &str;

    /// Whether the node can take the work.
    ///
    /// # Errors
    /// What the node lacks, with the values compared, for people.
    fn check(&self, request: &PlacementRequest, node: &NodeView<'_>) -> Result<(), String>;
}

/// A score of the embedding program (S19), added to the strategy's weight.
///
/// Of two nodes that fulfil the same wishes, the one with more points is the better; a strategy's
/// own points are percents: CPU and memory, 100 each, and ten for each point of health. Several
/// scores add up, each times its factor, which makes weighted combinations. Ties are broken as
/// without. A scheduler with scores that have no [bounds](Self::bounds) looks at every node that
/// could take the work.
///
/// ```
/// use longshore_core::PlacementRequest;
/// use longshore_sched::{ClusterScheduler, NodeScore, NodeView};
///
/// /// Cheap nodes first.
/// #[derive(Debug)]
/// struct Price;
///
/// impl NodeScore for Price {
///     fn name(&self) -> &str {
///         "price"
///     }
///
///     fn points(&self, _request: &PlacementRequest, node: &NodeView<'_>) -> i32 {
///         node.label("price").and_then(|cents| cents.parse::<i32>().ok()).map_or(0, |cents| -cents)
///     }
///
///     fn bounds(&self, _request: &PlacementRequest) -> Option<std::ops::RangeInclusive<i32>> {
///         Some(-10..=0)
///     }
/// }
///
/// let scheduler = ClusterScheduler::builder().own_score(Price, 5).build();
/// ```
pub trait NodeScore: Debug + Send + Sync + 'static {
    /// Its name among the parts of a score.
    fn name(&self) -> &str;

    /// More is better.
    fn points(&self, request: &PlacementRequest, node: &NodeView<'_>) -> i32;

    /// Between which points every node lies for this request, if that is known: then a search may
    /// leave out nodes that even the most points could not save, and the tighter the bounds, the
    /// more of them. Points beyond the bounds are cut off. Without bounds, which is what this says
    /// unless you say otherwise, every node that could take the work is looked at; so it is under
    /// [`Strategy::Random`](crate::Strategy::Random), and where points times factors exceed
    /// 500 million.
    fn bounds(&self, request: &PlacementRequest) -> Option<RangeInclusive<i32>> {
        let _ = request;
        None
    }
}

/// What a filter or a score of the embedding program sees of a node.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'n> {
    node: &'n Node,
}

impl<'n> NodeView<'n> {
    pub(crate) fn of(node: &'n Node) -> Self {
        Self { node }
    }

    /// The node as it was told; its labels and images are told by the methods here.
    pub fn state(&self) -> &'n NodeState {
        &self.node.state
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&'n str> {
        self.node.label(key)
    }

    /// Its labels in key order.
    pub fn labels(&self) -> impl Iterator<Item = (&'n str, &'n str)> {
        self.node.labels()
    }

    /// Every name of its images.
    pub fn images(&self) -> impl Iterator<Item = &'n str> {
        self.node.image_names()
    }

    /// Containers on it in any state, reservations included.
    pub fn containers(&self) -> usize {
        self.node.containers()
    }

    /// How many of them belong to a service.
    pub fn replicas(&self, service: &ServiceName) -> usize {
        self.node.replicas(service.as_str())
    }

    /// CPU that is not handed out.
    pub fn free_cpu(&self) -> MilliCpu {
        MilliCpu(self.node.available(Resource::Cpu))
    }

    /// Memory that is not handed out.
    pub fn free_memory(&self) -> Bytes {
        Bytes(self.node.available(Resource::Memory))
    }

    /// How much of another resource is not handed out.
    pub fn free(&self, resource: &str) -> u64 {
        self.node.available(Resource::Generic(resource))
    }
}
