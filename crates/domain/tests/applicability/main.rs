//! The engine against a slow implementation of the same rules: a generated fleet, and small random worlds that change step by step.

mod generated;
mod naive;
mod random;
mod rules;
mod world;
