use std::ops::ControlFlow;

use super::{Beyond, NodeView};
use crate::{demand::Demand, devices::assign, index::Node, reason::Reason};

/// What requests ask for by fields of their own.
pub(super) fn check<'a>(
    beyond: Beyond,
    demand: &'a Demand<'_>,
    node: &'a Node,
    tell: &mut impl FnMut(Reason<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let request = demand.request;
    match beyond {
        Beyond::Platform => {
            let fits = request.platforms.iter().any(|platform| {
                is_platform(&platform.os, node.label("ostype"))
                    && is_platform(&platform.architecture, node.label("architecture"))
            });
            if !request.platforms.is_empty() && !fits {
                tell(Reason::Platform { node })?;
            }
        }
        Beyond::Tenant => {
            // A node without the label belongs to nobody.
            if node.is_reserved
                && let Some(list) = node.label("tenant")
            {
                let tenant = request.tenant.as_deref().unwrap_or_default();
                if !list
                    .split(',')
                    .any(|listed| listed.trim() == tenant && !tenant.is_empty())
                {
                    tell(Reason::Tenant { node })?;
                }
            }
        }
        Beyond::Volume => {
            for (position, volume) in demand.volumes.iter().enumerate() {
                if !node.has_volume(volume) {
                    tell(Reason::Volume { position, volume })?;
                }
            }
        }
        Beyond::Device if demand.devices.is_empty() => {}
        Beyond::Device => {
            let (all, free) = (node.all_devices(), node.free_devices());
            let mut lacks = false;
            for (position, wanted) in demand.devices.iter().enumerate() {
                let fit = free.iter().filter(|device| wanted.fits(device)).count();
                if fit < wanted.pieces(all) {
                    lacks = true;
                    tell(Reason::Device {
                        position,
                        wanted,
                        fit,
                        node,
                    })?;
                }
            }
            // Each for itself there are enough.
            if !lacks && demand.devices.len() > 1 && assign(&demand.devices, all, &free).is_none() {
                let wanted = &demand.devices[0];
                tell(Reason::Device {
                    position: 0,
                    wanted,
                    fit: usize::MAX,
                    node,
                })?;
            }
        }
        Beyond::Topology => {
            for (position, domains) in demand.topology.iter().enumerate() {
                if !domains.admits(node.label_text(domains.label()).as_ref()) {
                    tell(Reason::Topology {
                        position,
                        domains,
                        node,
                    })?;
                }
            }
        }
        Beyond::Own => {
            for (position, filter) in demand.own.iter().enumerate() {
                if filter.check(request, &NodeView::of(node)).is_err() {
                    tell(Reason::Own {
                        position,
                        filter: &**filter,
                        request,
                        node,
                    })?;
                }
            }
        }
    }
    ControlFlow::Continue(())
}

/// SwarmKit's comparison: what is not said fits, and names of processors are brought to one form.
fn is_platform(wanted: &str, had: Option<&str>) -> bool {
    wanted.is_empty() || had.is_some_and(|had| normal(had) == normal(wanted))
}

fn normal(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
