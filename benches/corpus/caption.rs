//! Captions as the reference data has them: a noun phrase or two, 8.7 words on average.

use super::random::Random;

const ADJECTIVES: &[&str] = &[
    "red", "old", "small", "wooden", "white", "modern", "vintage", "tiny", "large", "rustic",
    "black", "yellow", "round", "empty", "busy", "quiet", "snowy", "sunny", "broken", "shiny",
    "handmade", "green", "striped", "narrow", "ancient", "colorful", "soft", "heavy", "plain",
    "floral", "grey", "bright", "dusty", "leather", "glass", "steel", "two", "three", "famous",
    "young",
];
const NOUNS: &[&str] = &[
    "house", "bus", "dog", "kitchen", "boat", "woman", "man", "chair", "table", "bridge",
    "mountain", "street", "bicycle", "flower", "cat", "train", "church", "dress", "car", "garden",
    "lamp", "cake", "poster", "beach", "lake", "shoes", "jacket", "window", "tower", "horse",
    "bird", "bag", "bottle", "clock", "sofa", "bowl", "painting", "market", "player", "singer",
    "actor", "ring", "tree", "stairs", "phone", "cup", "plane", "guitar", "castle", "map", "door",
    "ship", "logo", "pillow", "necklace", "truck", "forest", "river", "field", "statue",
];
const VERBS: &[&str] = &[
    "standing",
    "parked",
    "sitting",
    "seen",
    "waiting",
    "sleeping",
    "displayed",
    "photographed",
    "running",
    "hanging",
    "floating",
    "left",
    "shown",
    "posing",
    "playing",
    "growing",
    "resting",
    "walking",
    "painted",
    "built",
];
const PREPOSITIONS: &[&str] = &[
    "on",
    "near",
    "behind",
    "beside",
    "in front of",
    "under",
    "next to",
    "at",
    "by",
    "above",
];
const PLACES: &[&str] = &[
    "harbour",
    "park",
    "museum",
    "old town",
    "kitchen counter",
    "river bank",
    "white background",
    "railway station",
    "football match",
    "film premiere",
    "garden wall",
    "city centre",
    "living room",
    "airport",
    "night sky",
    "festival",
    "school yard",
    "vineyard",
    "pier",
    "snow",
    "sunset",
    "window sill",
    "wooden floor",
    "car park",
    "valley",
    "red carpet",
    "hotel lobby",
    "desert",
    "market square",
    "front yard",
];
const TAILS: &[&str] = &[
    "with free shipping",
    "in black and white",
    "during a storm",
    "for sale",
    "vector illustration",
    "stock photo",
    "with a blue ribbon",
    "from the late 1920s",
    "in size 12",
    "part 3 of 7",
    "isolated on white",
    "at 25% off",
];
const ACCENTED: &[&str] = &[
    "café",
    "São Paulo",
    "Zürich",
    "crème brûlée",
    "naïve",
    "Ångström",
    "piñata",
    "Málaga – Spain",
];
const CHINESE: &[&str] = &[
    "图片中有一只小狗坐在草地上，",
    "背景是一座古老的石桥。",
    "画面的左侧可以看到几棵树，",
    "天空呈现出淡蓝色，",
    "整个场景给人一种宁静的感觉。",
];

/// A caption.
pub fn caption(random: &mut Random) -> String {
    // Shares per 10,000 as measured on the public sample: 4 long Chinese, 66 with non-ASCII text.
    let rare = random.below(10_000);
    if rare < 4 {
        return (0..20).map(|_| random.pick(CHINESE)).collect();
    }
    let mut words = vec!["a", random.pick(ADJECTIVES), random.pick(NOUNS)];
    if random.chance(850) {
        words.extend([
            random.pick(VERBS),
            random.pick(PREPOSITIONS),
            "the",
            random.pick(PLACES),
        ]);
    }
    if random.chance(270) {
        words.extend(["and", "a", random.pick(ADJECTIVES), random.pick(NOUNS)]);
    }
    if random.chance(170) {
        words.push(random.pick(TAILS));
    }
    if rare < 70 {
        words.push(random.pick(ACCENTED));
    }
    words.join(" ")
}

/// `caption` with one word replaced: nearly the same.
pub fn near(caption: &str, random: &mut Random) -> String {
    let count = caption.split(' ').count();
    let changed = random.below(count);
    let with = random.pick(NOUNS);
    let words: Vec<&str> = caption
        .split(' ')
        .enumerate()
        .map(|(i, w)| if i == changed { with } else { w })
        .collect();
    words.join(" ")
}

/// `caption` in a row's text field.
pub fn text(caption: &str) -> String {
    format!("<__dj__image>\n{caption} <|__dj__eoc|>")
}

/// The row of `caption` and the image at `path`, as Python's `json.dumps` writes it.
pub fn row(id: &str, caption: &str, path: &str) -> String {
    format!(
        "{{\"id\": \"{id}\", \"text\": {}, \"images\": [\"{path}\"]}}",
        json_string(&text(caption))
    )
}

/// A JSON string in double quotes; Unicode stays as it is.
pub fn json_string(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
