//! Clients of one node: each does one thing after another, and notes what it saw.

use std::rc::Rc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::{Keyspace, Reader};
use twinmcp_storage::record;

use super::registers;
use super::seen::{Ended, Kept, Key, Local, Ticket};
use super::{Sabotage, World};
use crate::tests::history::{Name, Register};
use crate::{Applied, Cluster, ClusterError};

const REGISTERS: u64 = 3;
pub(super) const JOBS: u64 = 2;
pub(super) const TOKENS: u64 = 24;
/// Names that are tried at one time.
const NAMES: u64 = 4;

/// A client of one start of one node.
pub(super) struct Client {
    pub(super) world: Rc<World>,
    pub(super) cluster: Cluster,
    /// Which start of which node.
    pub(super) reader: (u64, u64),
    pub(super) dice: SmallRng,
}

impl Client {
    pub(super) fn new(world: &Rc<World>, cluster: &Cluster, reader: (u64, u64), number: u64) -> Self {
        let seed = world.seed ^ reader.0 << 48 ^ reader.1 << 32 ^ number << 24;
        let dice = SmallRng::seed_from_u64(seed);
        Self { world: Rc::clone(world), cluster: cluster.clone(), reader, dice }
    }

    /// Works until the world is quiet.
    pub(super) async fn run(mut self) {
        while !self.world.is_quiet() {
            let pause = self.dice.random_range(5..120);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.one().await;
        }
    }

    /// Reads all there is once more, when the world is quiet.
    pub(super) async fn read_all(mut self) {
        for register in 0..REGISTERS {
            self.get(register).await;
        }
        for job in 0..JOBS {
            self.attempt(job).await;
        }
        for token in 0..TOKENS {
            self.look(Key::Token(token)).await;
        }
        for name in 1..=self.world.names_tried() {
            self.look(Key::Account(name)).await;
        }
    }

    async fn one(&mut self) {
        match self.dice.random_range(0..16) {
            0..4 => self.put().await,
            4..6 => {
                let register = self.dice.random_range(0..REGISTERS);
                self.get(register).await;
            }
            6..8 => self.read_here(None),
            8 => self.swap().await,
            9 => {
                let job = self.dice.random_range(0..JOBS);
                self.attempt(job).await;
            }
            10..13 => {
                let name = self.world.a_name(NAMES, &mut self.dice);
                self.take(Key::Account(name)).await;
            }
            13 => {
                let name = self.world.a_name(NAMES, &mut self.dice);
                self.look(Key::Account(name)).await;
            }
            14 => {
                let token = self.dice.random_range(0..TOKENS);
                self.take(Key::Token(token)).await;
            }
            _ => {
                let token = self.dice.random_range(0..TOKENS);
                self.look(Key::Token(token)).await;
            }
        }
    }

    async fn put(&mut self) {
        let (register, value) = (self.dice.random_range(0..REGISTERS), self.world.a_value());
        let step = Register::Put(value);
        let ticket = self.world.seen.call(Key::Facts(register), &step);
        let begun = Instant::now();
        let deadline = self.a_deadline();
        let command = registers::put(register, value);
        let answered = match self.world.sabotage {
            Some(Sabotage::AnswersEarly) => self.propose_early(command, deadline).await,
            _ => self.cluster.propose_within(command, deadline).await,
        };
        let is_in_time = begun.elapsed() < deadline;
        let is_applied = self.outcome(ticket, answered, |_| Ok(step)).is_some_and(|log_index| log_index > 0);
        if is_applied && is_in_time {
            // What was answered is read here at once.
            self.local(register, Some(value));
        }
    }

    async fn get(&mut self, register: u64) {
        let ticket = self.world.seen.call(Key::Facts(register), &Register::Nothing);
        let ended = match self.is_fresh(ticket).await {
            true => Ended::Answered(Register::Get(registers::get(self.cluster.reader(), register))),
            false => Ended::Refused,
        };
        self.world.seen.end(ticket, ended);
    }

    async fn swap(&mut self) {
        let job = self.dice.random_range(0..JOBS);
        let from = registers::attempt(self.cluster.reader(), job) + u64::from(self.dice.random_ratio(1, 8));
        let step = |is_done| Register::Swap(from, from + 1, is_done);
        let ticket = self.world.seen.call(Key::Job(job), &step(None));
        let deadline = self.a_deadline();
        let answered = self.cluster.propose_within(registers::swap(job, from), deadline).await;
        self.outcome(ticket, answered, |outcome| Ok(step(Some(registers::is_taken(outcome)?))));
    }

    async fn attempt(&mut self, job: u64) {
        let ticket = self.world.seen.call(Key::Job(job), &Register::Nothing);
        let ended = match self.is_fresh(ticket).await {
            true => Ended::Answered(Register::Get(registers::attempt(self.cluster.reader(), job))),
            false => Ended::Refused,
        };
        self.world.seen.end(ticket, ended);
    }

    async fn take(&mut self, key: Key) {
        let by = self.world.a_value();
        let command = match key {
            Key::Token(token) => registers::use_token(token, by),
            Key::Account(name) => registers::take_name(name, by),
            Key::Facts(_) | Key::Job(_) => return,
        };
        let ticket = self.world.seen.call(key, &Name::Take(by, None));
        let deadline = self.a_deadline();
        let answered = self.cluster.propose_within(command, deadline).await;
        self.outcome(ticket, answered, |outcome| Ok(Name::Take(by, Some(registers::is_taken(outcome)?))));
    }

    async fn look(&mut self, key: Key) {
        let ticket = self.world.seen.call(key, &Name::Look(None));
        let ended = match self.is_fresh(ticket).await {
            true => {
                let reader = self.cluster.reader();
                Ended::Answered(Name::Look(match key {
                    Key::Token(token) => registers::used_by(reader, token),
                    Key::Account(name) => registers::named_by(reader, name),
                    Key::Facts(_) | Key::Job(_) => None,
                }))
            }
            false => Ended::Refused,
        };
        self.world.seen.end(ticket, ended);
    }

    /// Reads what this node has, without asking anybody.
    fn read_here(&mut self, after: Option<u64>) {
        let register = self.dice.random_range(0..REGISTERS);
        self.local(register, after);
    }

    fn local(&self, register: u64, after: Option<u64>) {
        let value = registers::get(self.cluster.reader(), register);
        self.world.seen.local(Local { reader: self.reader, register, value, after });
    }

    fn a_deadline(&mut self) -> Duration {
        Duration::from_millis(self.dice.random_range(200..2_500))
    }

    /// Waits until a read sees what was answered before it was called; `false` when that cannot be said.
    async fn is_fresh(&mut self, ticket: Ticket) -> bool {
        if self.world.sabotage == Some(Sabotage::ReadsLocally) {
            return true;
        }
        // Without a deadline when all is well again: then it must be answered.
        let deadline = if self.world.is_quiet() { Duration::from_secs(60) } else { self.a_deadline() };
        match self.cluster.linearize(deadline).await {
            Ok(index) => {
                self.world.seen.read_to(ticket, index);
                true
            }
            Err(ClusterError::NoLeader | ClusterError::Behind { .. }) => false,
            Err(error) => {
                tracing::debug!(%error, "a read was not answered");
                false
            }
        }
    }

    /// Calls done what the log of this node has.
    async fn propose_early(&self, command: Command, deadline: Duration) -> Result<Applied, ClusterError> {
        let bytes = record::encode(&command).unwrap();
        let machine = self.world.machine(self.reader.0);
        let mut proposing = Box::pin(self.cluster.propose_within(command, deadline));
        loop {
            tokio::select! {
                biased;
                answered = &mut proposing => return answered,
                () = tokio::time::sleep(Duration::from_millis(2)) => {
                    let log = machine.raft.scan(Keyspace::Log, &[], None, usize::MAX).unwrap();
                    let is_written = |value: &[u8]| value.windows(bytes.len()).any(|part| part == bytes);
                    if log.iter().any(|(_, value)| is_written(value)) {
                        return Ok(Applied { outcome: Outcome::Done, log_index: 0 });
                    }
                }
            }
        }
    }

    /// Notes what became of a change; answers where it is in the log.
    fn outcome<S>(
        &self,
        ticket: Ticket,
        answered: Result<Applied, ClusterError>,
        step: impl FnOnce(Outcome) -> Result<S, String>,
    ) -> Option<u64>
    where
        S: Kept,
    {
        let seen = &self.world.seen;
        let ended = match &answered {
            Ok(applied) => match step(applied.outcome) {
                Ok(step) => {
                    if applied.log_index > 0 {
                        seen.change_in(ticket, applied.log_index);
                    }
                    Ended::Answered(step)
                }
                Err(problem) => {
                    seen.problem(problem);
                    Ended::Unknown
                }
            },
            Err(
                ClusterError::Busy
                | ClusterError::NoLeader
                | ClusterError::TooLarge { .. }
                | ClusterError::Failed { .. },
            ) => Ended::Refused,
            Err(_) => Ended::Unknown,
        };
        seen.end(ticket, ended);
        answered.ok().map(|applied| applied.log_index)
    }
}
