//! The contract of an operator, and the registry that knows them all.
//!
//! An operator is one file in [`crate::ops`]. It declares its parameters as a struct, checks them
//! once when it is built, and then answers for one row at a time. Operators never touch files
//! (but for assets that the [`BuildContext`] opens while a plan is built, and images and files
//! that a row names through the row), threads, clocks, the environment or each other. Files that
//! they make they hand to the row; the executor writes them.

mod allot;
mod assets;
mod bounds;
mod build;
mod census;
mod choice;
mod condition;
mod dedup;
mod endpoint;
mod field;
mod filter;
mod from_data;
mod grouper;
mod index;
mod mapper;
mod meta;
mod nested;
mod one_or_many;
mod peer;
mod registry;
mod run;
mod selector;
mod service;
mod size;
mod spec;
#[cfg(test)]
pub(crate) mod testing;
mod vectors;

pub use allot::{Stratum, allot};
pub use assets::Asset;
pub use bounds::{AnyOrAll, Bounds, named_in};
pub use build::{
    AssetError, BaseParams, BuildContext, ParamError, Problems, SpecialTokens, positive,
};
pub use census::{Census, Common, Counted, Tally};
pub use choice::{Choice, Merge, Survivor};
pub use condition::RowCondition;
pub use dedup::{BandDeduplicator, Clusters, ExactDeduplicator, Joins};
pub use endpoint::{
    EndpointParams, EndpointService, EndpointSettings, Prices, Secret, endpoint_request,
    read_endpoint_request, without_secrets,
};
pub use field::{field_value, named_value, pairwise_sum, rank_number};
pub use filter::{Decision, Filter, Measured, Verdict};
pub use from_data::{Amount, DataBound, DataLimit, DataPlace, Keep, Side};
pub use grouper::{Grouper, group_key};
pub use index::{IndexHeader, IndexPlace, IndexReader, IndexWriter, KeyMaker};
pub use mapper::{Expander, Mapper, Part, TextMapper, TextMapperAdapter};
pub use meta::{META, STATS, SUFFIX, meta_of, top_value, wrong_type};
pub use nested::specified_value;
pub use one_or_many::OneOrMany;
pub use peer::{
    Change, PeerAsked, PeerFacts, PeerKind, PeerRefusal, PeerService, PeerSettings, Peers,
    peer_operator,
};
pub use registry::{Built, Family, Make, OpDef, all, ambiguous, find, operator};
pub use run::{Outcome, Recalls, RowKey, Setting, is_measured};
pub use selector::{
    FieldKey, KeyList, Keys, Order, PickError, Picked, Quota, Selector, check_number, check_share,
    ranked, share_of,
};
pub use service::{
    Answer, Asks, CommandParams, Dtype, Element, Head, ModelService, ModelSettings, ProgramService,
    Request, Said, Service, Tensor,
};
pub use size::{size_param, size_text};
pub use spec::{
    ANY_FIELD, BYTES, BoundParam, Facts, Field, GROUP_MEMORY, OpKind, OpSpec, ROW_MEMORY,
    SharedHash, Stat, StatDef, StatType, TEXT_UNITS, Written, longest_within,
};
pub use vectors::{VectorOperator, VectorRule};

pub use crate::sample::ImageNeed;

/// What the registration of an operator needs of other crates, in the versions that djr has.
pub use {inventory, schemars, serde_json};

/// An operator that is built and ready: it exists, so its parameters are valid.
pub enum Operator {
    /// Changes a row.
    Mapper(Box<dyn Mapper>),
    /// Makes several rows of one.
    Expander(Box<dyn Expander>),
    /// Measures a row and keeps or drops it.
    Filter(Box<dyn Filter>),
    /// Drops rows whose key an earlier row had.
    Exact(Box<dyn ExactDeduplicator>),
    /// Drops rows that are near an earlier row; must see every row before it can decide.
    Near(Box<dyn BandDeduplicator>),
    /// Drops or picks rows by vectors that a model makes; must see every row before it can.
    Vectors(Box<dyn VectorOperator>),
    /// Counts keys over all rows, then edits each row by what is common.
    Census(Box<dyn Census>),
    /// Picks rows out of all rows; must see every row before it can decide.
    Selector(Box<dyn Selector>),
    /// Makes one row of all rows with equal keys; must see every row before it can.
    Grouper(Box<dyn Grouper>),
}

impl Operator {
    /// How it is executed.
    #[must_use]
    pub fn kind(&self) -> OpKind {
        match self {
            Self::Mapper(_) => OpKind::Mapper,
            Self::Expander(_) => OpKind::Expander,
            Self::Filter(_) => OpKind::Filter,
            Self::Exact(_) => OpKind::Exact,
            Self::Near(_) => OpKind::Near,
            Self::Vectors(op) => match op.rule() {
                VectorRule::Join(_) => OpKind::Near,
                VectorRule::Spread(_) => OpKind::Selector,
            },
            Self::Census(_) => OpKind::Census,
            Self::Selector(_) => OpKind::Selector,
            Self::Grouper(_) => OpKind::Grouper,
        }
    }

    /// The operator as one that asks a service, if it does.
    #[must_use]
    pub fn asks(&self) -> Option<&dyn Asks> {
        match self {
            Self::Mapper(op) => op.asks(),
            Self::Expander(op) => op.asks(),
            Self::Filter(op) => op.asks(),
            Self::Exact(op) => op.asks(),
            Self::Vectors(op) => op.asks(),
            _ => None,
        }
    }
}
