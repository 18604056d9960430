//! What a worker is told when it is started: who it is and what it is to do, as one JSON argument.

use super::crew::Crew;
use super::limit;
use super::request;
use super::rtt;
use super::table;
use super::throughput;
use super::worker::{self, Identity, Station};
use crate::exit::Failure;
use serde::{Deserialize, Serialize};
use std::process::ExitCode;

/// The argument of the hidden verb `bench worker`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Plan {
    identity: Identity,
    task: Task,
}

/// What a worker does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Publishes on a bus.
    Produce(throughput::ProducerTask),
    /// Reads a bus and checks what it reads.
    Consume(throughput::ConsumerTask),
    /// Sends a message and waits for its echo.
    RttCall(rtt::RttTask),
    /// Echoes.
    RttAnswer(rtt::RttTask),
    /// Calls a service.
    RequestCall(request::RequestTask),
    /// Serves it.
    RequestServe(request::RequestTask),
    /// Writes to a table, or reads it.
    Table(table::TableTask),
    /// Does without a bus.
    Limit {
        /// The number of the inherited descriptor.
        board: i32,
        /// Which end, of what.
        part: limit::Part,
    },
}

/// Starts a worker.
pub fn hire(crew: &mut Crew, name: &str, cpu: Option<usize>, task: Task) -> Result<usize, Failure> {
    let identity = Identity { name: name.to_owned(), parent_pid: std::process::id(), cpu };
    let plan = serde_json::to_string(&Plan { identity, task }).map_err(std::io::Error::from)?;
    crew.hire(name, &["bench", "worker", &plan])
}

/// The worker process: does what `plan` says.
pub fn run(plan: &str) -> ExitCode {
    worker::run(|| {
        let plan: Plan = serde_json::from_str(plan)
            .map_err(|error| Failure::usage(format!("the plan of a worker: {error}")))?;
        let mut station = Station::enter(&plan.identity)?;
        match &plan.task {
            Task::Produce(task) => throughput::produce(&mut station, task),
            Task::Consume(task) => throughput::consume(&mut station, task),
            Task::RttCall(task) => rtt::call(&mut station, task),
            Task::RttAnswer(task) => rtt::answer(&mut station, task),
            Task::RequestCall(task) => request::call(&mut station, task),
            Task::RequestServe(task) => request::serve(&mut station, task),
            Task::Table(task) => table::work(&mut station, task),
            Task::Limit { board, part } => limit::work(&mut station, *board, part),
        }
    })
}
