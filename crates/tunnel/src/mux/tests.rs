mod adversary;
mod behaviour;
mod pair;
mod property;
