//! What `flagged_words_filter` and `stopwords_filter` share: they measure which share of a text's
//! words a list has.

use smallvec::smallvec;

use crate::op::{
    Bounds, BuildContext, Filter, Measured, Operator, ParamError, Problems, StatDef, positive,
};
use crate::sample::{FieldPath, RowError, Sample, StatValue};
use crate::text::{Augmentation, WordCutter, WordSet, listed_share};

/// The parameters of such a filter.
pub(super) struct Listed<'a> {
    /// The stat it writes.
    pub stat: &'static StatDef,
    /// The word in the names of the list's files.
    pub list: &'static str,
    /// The parameter that names their directory, and its value.
    pub dir: (&'static str, Option<&'a str>),
    /// The language of the list.
    pub lang: &'a str,
    /// Cut words with a model instead of at white space.
    pub tokenization: bool,
    /// The range of shares kept.
    pub range: (Option<f64>, Option<f64>),
    /// Count groups of words as words too.
    pub use_groups: bool,
    /// Sizes of the groups.
    pub group_sizes: &'a [i64],
    /// What joins the words of a group.
    pub join: &'a str,
}

struct ListedWords {
    text_key: FieldPath,
    cutter: WordCutter,
    list: WordSet,
    augmentation: Option<Augmentation>,
    bounds: Bounds,
}

/// Checks the parameters and loads what they name.
pub(super) fn build(
    given: &Listed<'_>,
    context: &BuildContext,
) -> Result<Operator, Vec<ParamError>> {
    let mut problems = Problems::default();
    let list = problems.keep(context.word_list(given.list, given.dir, ("lang", given.lang)));
    let cutter = problems.keep(context.word_cutter(given.lang, given.tokenization));
    let sizes: Result<Vec<usize>, ParamError> = given
        .group_sizes
        .iter()
        .map(|&size| positive("words_aug_group_sizes", size))
        .collect();
    let augmentation = problems.keep(sizes).map(|sizes| Augmentation {
        sizes,
        join: given.join.to_owned(),
    });
    let (min, max) = given.range;
    let bounds = problems.keep(Bounds::new(given.stat, min, max, &context.base));
    let (Some(list), Some(cutter), Some(augmentation), Some(bounds)) =
        (list, cutter, augmentation, bounds)
    else {
        return Err(problems.into());
    };
    Ok(Operator::Filter(Box::new(ListedWords {
        text_key: context.base.text_key.clone(),
        cutter,
        list,
        augmentation: Some(augmentation).filter(|_| given.use_groups),
        bounds,
    })))
}

impl Filter for ListedWords {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let words = sample.words(&self.text_key, &self.cutter)?;
        let share = listed_share(&words, &self.list, self.augmentation.as_ref());
        Ok(smallvec![StatValue::Float(share)])
    }

    fn bounds(&self) -> &[Bounds] {
        std::slice::from_ref(&self.bounds)
    }
}
