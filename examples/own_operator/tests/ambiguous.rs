//! Two operators of one name: which of them a recipe means cannot be told, so none runs.

use djr::op::{BuildContext, Facts, Mapper, Operator, ParamError, operator};
use djr::recipe::{self, LoadOptions, RecipeSource};
use djr::sample::{RowError, Sample};
use own_operator as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

operator! {
    /// Does nothing, under a name that is taken.
    vowel_share_filter: Mapper(Params) => build,
    Facts::NONE
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
struct Params {}

struct Nothing;

#[expect(clippy::unnecessary_wraps, reason = "the registry's signature")]
fn build(_: Params, _: &BuildContext) -> Result<Operator, Vec<ParamError>> {
    Ok(Operator::Mapper(Box::new(Nothing)))
}

impl Mapper for Nothing {
    fn apply(&self, _: &mut Sample) -> Result<(), RowError> {
        Ok(())
    }
}

#[test]
fn a_name_that_is_taken_twice_is_refused_by_name() {
    assert_eq!(djr::op::ambiguous(), ["vowel_share_filter"]);
    let source = RecipeSource::Text {
        name: "twice".into(),
        text: "dataset_path: '-'\nexport_path: '-'\nprocess: [text_length_filter]\n".into(),
    };
    let problems = recipe::load(&source, &LoadOptions::new(".")).map(drop);
    let problems = problems
        .map_err(|e| e.to_string())
        .err()
        .unwrap_or_default();
    assert!(
        problems.contains("two operators called 'vowel_share_filter'"),
        "{problems}"
    );
}
