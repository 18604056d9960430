//! The handlers of buses and participants. The work is done on threads that may block: opening a
//! segment maps it, creating one writes all of it.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use busway::host::{Allow, HostedBus};
use serde::Deserialize;

use super::Context;
use super::access::Peer;
use super::error::ApiError;
use super::extract::{BusName, JsonBody, QueryOf};
use super::work::blocking;
use crate::api::Standing;
use crate::api::{AllowText, UnreadableBus};
use crate::api::{Bus, BusDetail, BusList, CreateBus, Participant, ParticipantList, RemovedBus};
use crate::segment;

/// The query of `DELETE /v1/buses/{name}`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RemoveQuery {
    /// Remove it although somebody is attached.
    force: bool,
}

pub(super) async fn list(State(context): State<Context>) -> Result<Json<BusList>, ApiError> {
    blocking(move || {
        let mut list = BusList { buses: Vec::new(), unreadable: Vec::new() };
        each_bus(|name, opened| match opened {
            Ok(bus) => list.buses.push(Bus::new(bus.info(), &bus.stat())),
            // A table, which is no bus and nothing to worry about.
            Err(busway::Error::WrongKind { .. }) => {}
            Err(error) => list.unreadable.push(UnreadableBus {
                name: name.to_owned(),
                error: ApiError::from(error).into_body(),
            }),
        })?;
        let broker = context.shared.brokered.lock();
        list.buses.extend(broker.buses().map(|bus| Bus::new(bus.info(), &bus.stat())));
        drop(broker);
        list.buses.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Json(list))
    })
    .await
}

pub(super) async fn create(
    State(context): State<Context>,
    Extension(peer): Extension<Peer>,
    JsonBody(wish): JsonBody<CreateBus>,
) -> Result<Response, ApiError> {
    let shared = context.clone();
    let (bus, is_new) = blocking(move || create_or_accept(&wish, &shared, peer.uid)).await?;
    if is_new {
        tracing::info!(
            bus = bus.name,
            bytes = bus.segment_bytes,
            brokered = bus.brokered,
            uid = peer.uid,
            pid = peer.pid,
            "created"
        );
        context.shared.watch.wake();
    }
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/v1/buses/{}", bus.name);
    Ok((status, [(LOCATION, location)], Json(bus)).into_response())
}

/// Creates the bus, or accepts the one that exists when that was asked for; says which it was.
fn create_or_accept(
    wish: &CreateBus,
    context: &Context,
    creator: u32,
) -> Result<(Bus, bool), ApiError> {
    busway::check_name(&wish.name)?;
    let options = wish.options()?;
    let allow = wish.allowed()?;
    // Held until the named bus is there: the two kinds share their names.
    let mut broker = context.shared.brokered.lock();
    let exists = || busway::Error::AlreadyExists { name: wish.name.clone() };
    if wish.brokered {
        let Some(bus) = broker.bus(&wish.name) else {
            let bus = broker.create(&options, &wish.name, creator, allow)?;
            return Ok((Bus::new(bus.info(), &bus.stat()), true));
        };
        if !wish.if_not_exists {
            return Err(exists().into());
        }
        if let Some(difference) = difference_of(bus, &options, allow)? {
            let name = wish.name.clone();
            return Err(busway::Error::Differs { name, difference }.into());
        }
        return Ok((Bus::new(bus.info(), &bus.stat()), false));
    }
    if broker.bus(&wish.name).is_some() {
        if !wish.if_not_exists {
            return Err(exists().into());
        }
        let difference = "it is brokered, asked for is a named one".to_owned();
        return Err(busway::Error::Differs { name: wish.name.clone(), difference }.into());
    }
    let (bus, is_new) = match options.clone().create(&wish.name) {
        Ok(bus) => (bus, true),
        Err(busway::Error::AlreadyExists { .. }) if wish.if_not_exists => {
            (options.if_not_exists(true).create(&wish.name)?, false)
        }
        Err(error) => return Err(error.into()),
    };
    Ok((Bus::new(bus.info(), &bus.stat()), is_new))
}

/// In what a brokered bus is not what is asked for.
fn difference_of(
    bus: &HostedBus,
    options: &busway::BusOptions,
    allow: Vec<Allow>,
) -> Result<Option<String>, busway::Error> {
    if let Some(difference) = bus.difference(options)? {
        return Ok(Some(difference));
    }
    let missing = allow.into_iter().find(|line| !bus.allow().contains(line));
    Ok(missing.map(|line| format!("it is not open to {}", AllowText::from(line))))
}

pub(super) async fn inspect(
    State(context): State<Context>,
    BusName(name): BusName,
) -> Result<Json<BusDetail>, ApiError> {
    blocking(move || Ok(Json(read(&name, &context)?))).await
}

/// Everything there is to know of a bus of either kind.
fn read(name: &str, context: &Context) -> Result<BusDetail, busway::Error> {
    if let Some(bus) = context.shared.brokered.lock().bus(name) {
        return Ok(BusDetail::read_held(bus));
    }
    Ok(BusDetail::read(&segment::open(name)?))
}

pub(super) async fn remove(
    State(context): State<Context>,
    Extension(peer): Extension<Peer>,
    BusName(name): BusName,
    QueryOf(query): QueryOf<RemoveQuery>,
) -> Result<Json<RemovedBus>, ApiError> {
    let shared = context.clone();
    let removed = blocking(move || remove_unless_used(name, query.force, &shared)).await?;
    tracing::info!(
        bus = removed.removed,
        attached = removed.participants.len(),
        uid = peer.uid,
        pid = peer.pid,
        "removed"
    );
    context.shared.watch.wake();
    Ok(Json(removed))
}

/// Removes a bus that nobody alive is attached to, or any bus when forced. What cannot be opened
/// holds nobody that could be asked.
fn remove_unless_used(
    name: String,
    force: bool,
    context: &Context,
) -> Result<RemovedBus, ApiError> {
    let participants = match read(&name, context) {
        Ok(detail) => detail.participants().filter(|p| p.alive).cloned().collect(),
        Err(error @ busway::Error::NotFound { .. }) => return Err(error.into()),
        Err(_) => Vec::new(),
    };
    if !force && !participants.is_empty() {
        let message = format!("bus {name:?} is in use by {}", holders(&participants));
        let hint = "end them first, or remove it all the same with ?force=true";
        return Err(ApiError::new(StatusCode::CONFLICT, "in_use", message).with_hint(hint));
    }
    let mut broker = context.shared.brokered.lock();
    if broker.bus(&name).is_some() {
        broker.remove(&name)?;
    } else {
        busway::Bus::remove(&name)?;
    }
    Ok(RemovedBus { removed: name, participants })
}

/// The first few of those who are attached, in words.
fn holders(participants: &[Participant]) -> String {
    const NAMED_MAX: usize = 4;
    let named: Vec<String> = participants
        .iter()
        .take(NAMED_MAX)
        .map(|p| match p.standing {
            Standing::Group => format!("group {:?}", p.name),
            _ => format!("{} {:?} (process {})", p.role, p.name, p.pid),
        })
        .collect();
    let rest = participants.len().saturating_sub(NAMED_MAX);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    named.join(", ") + &more
}

pub(super) async fn participants_of(
    State(context): State<Context>,
    BusName(name): BusName,
) -> Result<Json<ParticipantList>, ApiError> {
    blocking(move || {
        let detail = read(&name, &context)?;
        Ok(Json(ParticipantList { participants: detail.participants().cloned().collect() }))
    })
    .await
}

pub(super) async fn participants(
    State(context): State<Context>,
) -> Result<Json<ParticipantList>, ApiError> {
    blocking(move || {
        let mut participants = Vec::new();
        each_bus(|_, opened| {
            if let Ok(bus) = opened {
                participants.extend(BusDetail::read(&bus).participants().cloned());
            }
        })?;
        for bus in context.shared.brokered.lock().buses() {
            participants.extend(BusDetail::read_held(bus).participants().cloned());
        }
        participants.sort_by(|one, other| one.bus.cmp(&other.bus));
        Ok(Json(ParticipantList { participants }))
    })
    .await
}

/// Opens every bus of the host in turn; one that goes meanwhile is left out.
fn each_bus(
    mut visit: impl FnMut(&str, Result<busway::Bus, busway::Error>),
) -> Result<(), ApiError> {
    for name in busway::Bus::list()? {
        match segment::open(&name) {
            Err(busway::Error::NotFound { .. }) => {}
            opened => visit(&name, opened),
        }
    }
    Ok(())
}
