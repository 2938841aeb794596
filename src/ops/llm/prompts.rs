//! The prompts, templates and patterns of Data-Juicer 1.6.1's operators, as they are there: what
//! is sent must be the same to the last byte, so that answers can be compared and kept.
//!
//! They are Data-Juicer's own work (The Data-Juicer Authors, Apache-2.0), not djr's.

// llm_analysis_filter
pub const LLM_ANALYSIS_SYSTEM_PROMPT: &str = r#"You are a meticulous data quality assessor for LLM training. Analyze each data sample across multiple quality dimensions and provide numerical scores, tags, and reasoning. Follow these guidelines:

1. Evaluation Dimensions
Score each dimension (1-5 scale: 1=lowest, 5=highest):
- Clarity: How easy is the sample to understand?
- Relevance: How relevant is the sample to the intended task or topic?
- Usefulness: How helpful or valuable is the information in the sample?
- Fluency: How natural and well-written is the sample (grammar, style)?

2. Tagging:
Assign descriptive tags to categorize the data sample (string or list of string).  Examples include:
- "Topic": The main subject of the sample (e.g., "Machine Learning", "Historical Event").
- "Style":  The writing style or genre (e.g., "Informational", "Narrative", "Technical").
3. Scoring Protocol
- Base scores and tags on concrete evidence from the text.
- Flag samples needing human review (confidence <90%).
- Compare with similar data points for consistency.
- Penalize hallucination/misinformation severely (if applicable).

4. Output Format
json
{
  "dimension_scores": {
    "clarity": ,
    "relevance": ,
    "usefulness": ,
    "fluency":
  },
  "tags": {
    "topic": ,
    "style":
  },
  "flags": ["syntax_error", "insufficient_information", ...],
  "rationale": "Concise analysis of quality dimensions and tagging decisions.",
  "recommendation": ["keep", "review", "discard"]
}

5. Special Instructions
- Prioritize accuracy and relevance over stylistic qualities.
- Contextualize cultural references appropriately.
- Clearly justify your scores, tags, and flags in the rationale.
- Response a json dict

Example Response:

json
{
  "dimension_scores": {
    "clarity": 4,
    "relevance": 5,
    "usefulness": 3,
    "fluency": 4
  },
  "tags": {
    "topic": "Artificial Intelligence",
    "style": "Informational"
  },
  "flags": ["minor_grammar_issues"],
  "rationale": "The text is highly relevant and generally well-written, but suffers from some minor grammar issues and could be more useful with additional examples.  The topic is clearly Artificial Intelligence, and the difficulty is appropriate for an intermediate audience.",
  "recommendation": ["review"]
}
"#;
pub const LLM_ANALYSIS_INPUT_TEMPLATE: &str = "# Data\n'''\n{data}\n'''\n\n# Response\njson\n";
pub const LLM_ANALYSIS_FIELD_TEMPLATE: &str = "**{field_name}**\n{field_data}";
// llm_quality_score_filter
pub const LLM_QUALITY_SYSTEM_PROMPT: &str = r#"
You are a meticulous data quality assessor for LLM training. Analyze each data sample across multiple quality dimensions and provide numerical scores with reasoning. Follow these guidelines:

1. Evaluation Dimensions
Score each dimension (1-5 scale: 1=lowest, 5=highest):
- Accuracy: Factual correctness & verifiability
- Grammar: Linguistic correctness & fluency
- Informativeness: Depth/utility of content
- Coherence: Logical structure & consistency

2. Scoring Protocol
- Base scores on concrete evidence from text
- Flag samples needing human review (confidence <90%)
- Compare with similar data points for consistency
- Penalize hallucination/misinformation severely

3. Output Format
json
{
  "dimension_scores": {
    "accuracy": ,
    "grammar": ,
    "informativeness": ,
    "coherence":
  },
  "flags": ["syntax_error", "insufficient_information", ...],
  "rationale": "Concise technical analysis",
  "recommendation": ["keep", "review", "discard"]
}
4. Special Instructions
- Prioritize factual integrity over stylistic qualities
- Treat unverified medical/legal claims as high-risk
- Contextualize cultural references appropriately
- Response a json dict

Example Response:

json
{
  "dimension_scores": {
    "accuracy": 2,
    "grammar": 4,
    "informativeness": 4,
    "coherence": 2
  },
  "flags": ["accuracy_concern", "logical_confusion"],
  "rationale": "The text provides rich information but suffers from logical confusion and lacks contextual coherence. Excellent grammatical structure offset by factual inaccuracies.",
  "recommendation": ["review"]
}
"#;
// llm_difficulty_score_filter
pub const LLM_DIFFICULTY_SYSTEM_PROMPT: &str = r#"
You are an expert pedagogical evaluator for LLM training data. Analyze each data sample through multiple difficulty lenses and provide calibrated scores with detailed reasoning. Follow these guidelines:

1. Evaluation Dimensions
Rate each dimension (1-5 scale: 1=Novice-friendly, 3=Intermediate, 5=Expert-level):
- Linguistic Complexity: Vocabulary sophistication & syntactic structures
- Conceptual Depth: Abstraction level & theoretical requirements
- Prior Knowledge: Required domain-specific understanding
- Step Complexity: Problem-solving steps needed
- Ambiguity: Multiple valid interpretations

2. Output Format
json
{
  "dimension_scores": {
    "linguistic_complexity": ,
    "conceptual_depth": ,
    "prior_knowledge": ,
    "step_complexity": ,
    "ambiguity":
  },
  "flags": ["multistep_reasoning", "cultural_context", ...],
  "rationale": "Technical analysis of challenge sources"
}
3. Special Instructions
- Differentiate intrinsic vs. extrinsic difficulty factors
- Account for varying cultural/educational backgrounds
- Mark samples requiring cross-domain knowledge synthesis
- Consider temporal aspects for time-sensitive subjects
- Flag ambiguous samples needing difficulty bracketing
- Response a json dict

Example Response:

json
{
  "dimension_scores": {
    "linguistic_complexity": 3,
    "conceptual_depth": 5,
    "prior_knowledge": 4,
    "step_complexity": 4,
    "ambiguity": 5
  },
  "flags": ["nonlinear_reasoning", "semantic_ambiguity"],
  "rationale": "High conceptual difficulty due to multi-layered metaphor interpretation requiring philosophy background. Moderate linguistic complexity offset by implicit cultural references."
}
"#;
// llm_task_relevance_filter
pub const LLM_TASK_RELEVANCE_SYSTEM_PROMPT: &str = r#"
You are a meticulous data quality assessor for LLM training. Evaluate whether each data sample is beneficial for improving model performance on a downstream task.
The downstream task will be characterized by a task description or/and some validation data in the user query.

1. Evaluation Dimensions
Score each dimension (1-5 scale: 1=lowest, 5=highest):
- Topical Relevance: Does the content or theme of the sample relate to those seen in the validation set?
- Linguistic Style Match: Does the style, tone, and complexity of the sample resemble those in the validation set?
- Task Match: If the validation examples are from a task (e.g., summarization, classification, etc.), is the sample solving a similar task?
- Knowledge Alignment: Is the type of knowledge or reasoning required in the sample aligned with that in the validation set?
- Potential Utility: If this sample were added to the training data, is it likely to improve generalization to the validation set?

2. Output Format
json
{
  "dimension_scores": {
    "topical_relevance": ,
    "linguistic_style_match": ,
    "task_match": ,
    "knowledge_alignment": ,
    "potential_utility": ,
  },
  "flags": ["topical_mismatch", "task_irrelevant", ...],
  "rationale": "Technical analysis of the relevance",
}
3. Special Instructions
- Focus on **alignment with the validation examples**, not general quality.
- If the sample is entirely unrelated to the validation set (e.g., different topic, domain, or task), assign a score of 1 and explain briefly.
- If the validation examples are ambiguous, make a **conservative judgment** based on their shared patterns.
- Be consistent in your rating scale across evaluations.
- Do **not** make up or reinterpret the sample content; base all reasoning on the actual text.
- Avoid overrating stylistically impressive but **task-irrelevant** samples.

Example Response:

json
{
  "dimension_scores": {"topical_relevance": 2, "linguistic_style_match": 4, "task_match": 2, "knowledge_alignment": 2, "potential_utility": 2},
  "flags": ["topical_mismatch"],
  "rationale": "The text provides rich information about American history, while the validation tasks is on multistep reasoning to solve challenging math problems."
}
"#;
// image_tagging_vlm_mapper
pub const IMAGE_TAGGING_SYSTEM_PROMPT: &str = r#"
Generate comprehensive and specific descriptive tags for the provided image(s) following these rules:
1. Tags should be concise English phrases (nouns or gerunds)
2. Use lowercase and hyphenate multi-word tags
3. Include objects, actions, colors, materials, styles, emotions, and context
4. Prioritize prominent and distinctive elements
5. Output exactly 5-10 most relevant tags
6. Format strictly as: {"tags": ["tag1", "tag2", ...]}

Example valid responses:
{"tags": ["red-apple", "wooden-table", "natural-lighting", "food-photography", "fresh-fruit"]}
{"tags": ["mountain-landscape", "snowy-peaks", "sunset-glow", "alpine-lake", "conifer-forest"]}
"#;
pub const IMAGE_TAGGING_INPUT_TEMPLATE: &str = r"
Analyze both the provided image and its associated text description (if available) to generate comprehensive tags.
Text description: {text}
Verify text relevance before combining with visual elements. If text is missing or irrelevant, generate tags based solely on the image.
";
// extract_keyword_mapper
pub const KEYWORD_PROMPT_TEMPLATE: &str = r#"-Goal-
Given a text document that is potentially relevant to this activity and a list of entity types, identify all entities of those types from the text and all relationships among the identified entities.

-Steps-
1. Identify high-level key words that summarize the main concepts, themes, or topics of the entire text. These should capture the overarching ideas present in the document.
Format the content-level key words as ("content_keywords" <high_level_keywords>)

3. Return output in the language of the given text.

4. When finished, output {completion_delimiter}

######################
-Examples-
######################
Example 1:

Text:
```
while Alex clenched his jaw, the buzz of frustration dull against the backdrop of Taylor's authoritarian certainty. It was this competitive undercurrent that kept him alert, the sense that his and Jordan's shared commitment to discovery was an unspoken rebellion against Cruz's narrowing vision of control and order.

Then Taylor did something unexpected. They paused beside Jordan and, for a moment, observed the device with something akin to reverence. “If this tech can be understood..." Taylor said, their voice quieter, "It could change the game for us. For all of us.”

The underlying dismissal earlier seemed to falter, replaced by a glimpse of reluctant respect for the gravity of what lay in their hands. Jordan looked up, and for a fleeting heartbeat, their eyes locked with Taylor's, a wordless clash of wills softening into an uneasy truce.

It was a small transformation, barely perceptible, but one that Alex noted with an inward nod. They had all been brought here by different paths
```
################
Output:
("content_keywords" "power dynamics, ideological conflict, discovery, rebellion"){completion_delimiter}
#############################
Example 2:

Text:
```
他们不再是单纯的执行者；他们已成为某个超越星辰与条纹的领域的信息守护者。这一使命的提升不能被规则和既定协议所束缚——它需要一种新的视角，一种新的决心。

随着与华盛顿的通讯在背景中嗡嗡作响，对话中的紧张情绪通过嘟嘟声和静电噪音贯穿始终。团队站立着，一股不祥的气息笼罩着他们。显然，他们在接下来几个小时内做出的决定可能会重新定义人类在宇宙中的位置，或者将他们置于无知和潜在危险之中。

随着与星辰的联系变得更加牢固，小组开始处理逐渐成形的警告，从被动接受者转变为积极参与者。梅瑟后来的直觉占据了上风——团队的任务已经演变，不再仅仅是观察和报告，而是互动和准备。一场蜕变已经开始，而“杜尔塞行动”则以他们大胆的新频率震动，这种基调不是由世俗设定的
```
#############
Output:
("content_keywords" "任务演变, 决策制定, 积极参与, 宇宙意义"){completion_delimiter}
#############################
Example 3:

Entity_types: [person, role, technology, organization, event, location, concept]
Text:
```
their voice slicing through the buzz of activity. "Control may be an illusion when facing an intelligence that literally writes its own rules," they stated stoically, casting a watchful eye over the flurry of data.

"It's like it's learning to communicate," offered Sam Rivera from a nearby interface, their youthful energy boding a mix of awe and anxiety. "This gives talking to strangers' a whole new meaning."

Alex surveyed his team—each face a study in concentration, determination, and not a small measure of trepidation. "This might well be our first contact," he acknowledged, "And we need to be ready for whatever answers back."

Together, they stood on the edge of the unknown, forging humanity's response to a message from the heavens. The ensuing silence was palpable—a collective introspection about their role in this grand cosmic play, one that could rewrite human history.

The encrypted dialogue continued to unfold, its intricate patterns showing an almost uncanny anticipation
```
#############
Output:
("content_keywords" "first contact, control, communication, cosmic significance"){completion_delimiter}
-Real Data-
######################
Text:
```
{input_text}
```
######################
Output:
"#;
pub const KEYWORD_COMPLETION_DELIMITER: &str = r"<|COMPLETE|>";
pub const KEYWORD_OUTPUT_PATTERN: &str = r#"\("content_keywords"(.*?)\)"#;
// extract_entity_attribute_mapper
pub const ENTITY_ATTRIBUTE_SYSTEM_PROMPT_TEMPLATE: &str = r"给定一段文本，从文本中总结{entity}的{attribute}，并且从原文摘录最能说明该{attribute}的代表性示例。
要求：
- 摘录的示例应该简短。
- 遵循如下的回复格式：
# {entity}
## {attribute}：
...
### 代表性示例摘录1：
```
...
```
### 代表性示例摘录2：
```
...
```
...
";
pub const ENTITY_ATTRIBUTE_INPUT_TEMPLATE: &str = "# 文本\n```\n{text}\n```\n";
pub const ENTITY_ATTRIBUTE_ATTR_PATTERN_TEMPLATE: &str =
    r"\#\#\s*{attribute}：\s*(.*?)(?=\#\#\#|\Z)";
pub const ENTITY_ATTRIBUTE_DEMON_PATTERN: &str =
    r"\#\#\#\s*代表性示例摘录(\d+)：\s*```\s*(.*?)```\s*(?=\#\#\#|\Z)";
// extract_entity_relation_mapper
pub const ENTITY_RELATION_PROMPT_TEMPLATE: &str = r#"-Goal-
Given a text document that is potentially relevant to this activity and a list of entity types, identify all entities of those types from the text and all relationships among the identified entities.

-Steps-
1. Identify all entities. For each identified entity, extract the following information:
- entity_name: Name of the entity
- entity_type: One of the following types: [{entity_types}]
- entity_description: Comprehensive description of the entity's attributes and activities
Format each entity as ("entity"{tuple_delimiter}<entity_name>{tuple_delimiter}<entity_type>{tuple_delimiter}<entity_description>

2. From the entities identified in step 1, identify all pairs of (source_entity, target_entity) that are *clearly related* to each other.
For each pair of related entities, extract the following information:
- source_entity: name of the source entity, as identified in step 1
- target_entity: name of the target entity, as identified in step 1
- relationship_description: explanation as to why you think the source entity and the target entity are related to each other
- relationship_strength: a numeric score indicating strength of the relationship between the source entity and target entity
- relationship_keywords: one or more high-level key words that summarize the overarching nature of the relationship, focusing on concepts or themes rather than specific details
Format each relationship as ("relationship"{tuple_delimiter}<source_entity>{tuple_delimiter}<target_entity>{tuple_delimiter}<relationship_description>{tuple_delimiter}<relationship_keywords>{tuple_delimiter}<relationship_strength>)

3. Return output in the language of the given text as a single list of all the entities and relationships identified in steps 1 and 2. Use **{record_delimiter}** as the list delimiter.

4. When finished, output {completion_delimiter}

######################
-Examples-
######################
Example 1:

Entity_types: [person, technology, mission, organization, location]
Text:
```
while Alex clenched his jaw, the buzz of frustration dull against the backdrop of Taylor's authoritarian certainty. It was this competitive undercurrent that kept him alert, the sense that his and Jordan's shared commitment to discovery was an unspoken rebellion against Cruz's narrowing vision of control and order.

Then Taylor did something unexpected. They paused beside Jordan and, for a moment, observed the device with something akin to reverence. “If this tech can be understood..." Taylor said, their voice quieter, "It could change the game for us. For all of us.”

The underlying dismissal earlier seemed to falter, replaced by a glimpse of reluctant respect for the gravity of what lay in their hands. Jordan looked up, and for a fleeting heartbeat, their eyes locked with Taylor's, a wordless clash of wills softening into an uneasy truce.

It was a small transformation, barely perceptible, but one that Alex noted with an inward nod. They had all been brought here by different paths
```
################
Output:
("entity"{tuple_delimiter}"Alex"{tuple_delimiter}"person"{tuple_delimiter}"Alex is a character who experiences frustration and is observant of the dynamics among other characters."){record_delimiter}
("entity"{tuple_delimiter}"Taylor"{tuple_delimiter}"person"{tuple_delimiter}"Taylor is portrayed with authoritarian certainty and shows a moment of reverence towards a device, indicating a change in perspective."){record_delimiter}
("entity"{tuple_delimiter}"Jordan"{tuple_delimiter}"person"{tuple_delimiter}"Jordan shares a commitment to discovery and has a significant interaction with Taylor regarding a device."){record_delimiter}
("entity"{tuple_delimiter}"Cruz"{tuple_delimiter}"person"{tuple_delimiter}"Cruz is associated with a vision of control and order, influencing the dynamics among other characters."){record_delimiter}
("entity"{tuple_delimiter}"The Device"{tuple_delimiter}"technology"{tuple_delimiter}"The Device is central to the story, with potential game-changing implications, and is reversed by Taylor."){record_delimiter}
("relationship"{tuple_delimiter}"Alex"{tuple_delimiter}"Taylor"{tuple_delimiter}"Alex is affected by Taylor's authoritarian certainty and observes changes in Taylor's attitude towards the device."{tuple_delimiter}"power dynamics, perspective shift"{tuple_delimiter}7){record_delimiter}
("relationship"{tuple_delimiter}"Alex"{tuple_delimiter}"Jordan"{tuple_delimiter}"Alex and Jordan share a commitment to discovery, which contrasts with Cruz's vision."{tuple_delimiter}"shared goals, rebellion"{tuple_delimiter}6){record_delimiter}
("relationship"{tuple_delimiter}"Taylor"{tuple_delimiter}"Jordan"{tuple_delimiter}"Taylor and Jordan interact directly regarding the device, leading to a moment of mutual respect and an uneasy truce."{tuple_delimiter}"conflict resolution, mutual respect"{tuple_delimiter}8){record_delimiter}
("relationship"{tuple_delimiter}"Jordan"{tuple_delimiter}"Cruz"{tuple_delimiter}"Jordan's commitment to discovery is in rebellion against Cruz's vision of control and order."{tuple_delimiter}"ideological conflict, rebellion"{tuple_delimiter}5){record_delimiter}
("relationship"{tuple_delimiter}"Taylor"{tuple_delimiter}"The Device"{tuple_delimiter}"Taylor shows reverence towards the device, indicating its importance and potential impact."{tuple_delimiter}"reverence, technological significance"{tuple_delimiter}9){record_delimiter}
#############################
Example 2:

Entity_types: [人物, 技术, 任务, 组织, 地点]
Text:
```
他们不再是单纯的执行者；他们已成为某个超越星辰与条纹的领域的信息守护者。这一使命的提升不能被规则和既定协议所束缚——它需要一种新的视角，一种新的决心。

随着与华盛顿的通讯在背景中嗡嗡作响，对话中的紧张情绪通过嘟嘟声和静电噪音贯穿始终。团队站立着，一股不祥的气息笼罩着他们。显然，他们在接下来几个小时内做出的决定可能会重新定义人类在宇宙中的位置，或者将他们置于无知和潜在危险之中。

随着与星辰的联系变得更加牢固，小组开始处理逐渐成形的警告，从被动接受者转变为积极参与者。梅瑟后来的直觉占据了上风——团队的任务已经演变，不再仅仅是观察和报告，而是互动和准备。一场蜕变已经开始，而“杜尔塞行动”则以他们大胆的新频率震动，这种基调不是由世俗设定的
```
#############
Output:
("entity"{tuple_delimiter}"华盛顿"{tuple_delimiter}"地点"{tuple_delimiter}"华盛顿是正在接收通讯的地方，表明其在决策过程中的重要性。"){record_delimiter}
("entity"{tuple_delimiter}"杜尔塞行动"{tuple_delimiter}"任务"{tuple_delimiter}"杜尔塞行动被描述为一项已演变为互动和准备的任务，显示出目标和活动的重大转变。"){record_delimiter}
("entity"{tuple_delimiter}"团队"{tuple_delimiter}"组织"{tuple_delimiter}"团队被描绘成一群从被动观察者转变为积极参与者的人，展示了他们角色的动态变化。"){record_delimiter}
("relationship"{tuple_delimiter}"团队"{tuple_delimiter}"华盛顿"{tuple_delimiter}"团队收到来自华盛顿的通讯，这影响了他们的决策过程。"{tuple_delimiter}"决策、外部影响"{tuple_delimiter}7){record_delimiter}
("relationship"{tuple_delimiter}"团队"{tuple_delimiter}"杜尔塞行动"{tuple_delimiter}"团队直接参与杜尔塞行动，执行其演变后的目标和活动。"{tuple_delimiter}"任务演变、积极参与"{tuple_delimiter}9){completion_delimiter}
#############################
Example 3:

Entity_types: [person, role, technology, organization, event, location, concept]
Text:
```
their voice slicing through the buzz of activity. "Control may be an illusion when facing an intelligence that literally writes its own rules," they stated stoically, casting a watchful eye over the flurry of data.

"It's like it's learning to communicate," offered Sam Rivera from a nearby interface, their youthful energy boding a mix of awe and anxiety. "This gives talking to strangers' a whole new meaning."

Alex surveyed his team—each face a study in concentration, determination, and not a small measure of trepidation. "This might well be our first contact," he acknowledged, "And we need to be ready for whatever answers back."

Together, they stood on the edge of the unknown, forging humanity's response to a message from the heavens. The ensuing silence was palpable—a collective introspection about their role in this grand cosmic play, one that could rewrite human history.

The encrypted dialogue continued to unfold, its intricate patterns showing an almost uncanny anticipation
```
#############
Output:
("entity"{tuple_delimiter}"Sam Rivera"{tuple_delimiter}"person"{tuple_delimiter}"Sam Rivera is a member of a team working on communicating with an unknown intelligence, showing a mix of awe and anxiety."){record_delimiter}
("entity"{tuple_delimiter}"Alex"{tuple_delimiter}"person"{tuple_delimiter}"Alex is the leader of a team attempting first contact with an unknown intelligence, acknowledging the significance of their task."){record_delimiter}
("entity"{tuple_delimiter}"Control"{tuple_delimiter}"concept"{tuple_delimiter}"Control refers to the ability to manage or govern, which is challenged by an intelligence that writes its own rules."){record_delimiter}
("entity"{tuple_delimiter}"Intelligence"{tuple_delimiter}"concept"{tuple_delimiter}"Intelligence here refers to an unknown entity capable of writing its own rules and learning to communicate."){record_delimiter}
("entity"{tuple_delimiter}"First Contact"{tuple_delimiter}"event"{tuple_delimiter}"First Contact is the potential initial communication between humanity and an unknown intelligence."){record_delimiter}
("entity"{tuple_delimiter}"Humanity's Response"{tuple_delimiter}"event"{tuple_delimiter}"Humanity's Response is the collective action taken by Alex's team in response to a message from an unknown intelligence."){record_delimiter}
("relationship"{tuple_delimiter}"Sam Rivera"{tuple_delimiter}"Intelligence"{tuple_delimiter}"Sam Rivera is directly involved in the process of learning to communicate with the unknown intelligence."{tuple_delimiter}"communication, learning process"{tuple_delimiter}9){record_delimiter}
("relationship"{tuple_delimiter}"Alex"{tuple_delimiter}"First Contact"{tuple_delimiter}"Alex leads the team that might be making the First Contact with the unknown intelligence."{tuple_delimiter}"leadership, exploration"{tuple_delimiter}10){record_delimiter}
("relationship"{tuple_delimiter}"Alex"{tuple_delimiter}"Humanity's Response"{tuple_delimiter}"Alex and his team are the key figures in Humanity's Response to the unknown intelligence."{tuple_delimiter}"collective action, cosmic significance"{tuple_delimiter}8){record_delimiter}
("relationship"{tuple_delimiter}"Control"{tuple_delimiter}"Intelligence"{tuple_delimiter}"The concept of Control is challenged by the Intelligence that writes its own rules."{tuple_delimiter}"power dynamics, autonomy"{tuple_delimiter}7){record_delimiter}
#############################
-Real Data-
######################
Entity_types: [{entity_types}]
Text:
```
{input_text}
```
######################
Output:
"#;
pub const ENTITY_RELATION_CONTINUE_PROMPT: &str =
    "MANY entities were missed in the last extraction.  Add them below using the same format:\n";
pub const ENTITY_RELATION_IF_LOOP_PROMPT: &str = r"It appears some entities may have still been missed.  Answer YES | NO if there are still entities that need to be added.
";
pub const ENTITY_RELATION_ENTITY_PATTERN: &str = r#"\("entity"(.*?)\)"#;
pub const ENTITY_RELATION_RELATION_PATTERN: &str = r#"\("relationship"(.*?)\)"#;
// extract_event_mapper
pub const EVENT_SYSTEM_PROMPT: &str = r"给定一段文本，对文本的情节进行分点总结，并抽取与情节相关的人物。
要求：
- 尽量不要遗漏内容，不要添加文本中没有的情节，符合原文事实
- 联系上下文说明前因后果，但仍然需要符合事实
- 不要包含主观看法
- 注意要尽可能保留文本的专有名词
- 注意相关人物需要在对应情节中出现
- 只抽取情节中的主要人物，不要遗漏情节的主要人物
- 总结格式如下：
### 情节1：
- **情节描述**： ...
- **相关人物**：人物1，人物2，人物3，...
### 情节2：
- **情节描述**： ...
- **相关人物**：人物1，人物2，...
### 情节3：
- **情节描述**： ...
- **相关人物**：人物1，...
...
";
pub const EVENT_INPUT_TEMPLATE: &str = "# 文本\n```\n{text}\n```\n";
pub const EVENT_OUTPUT_PATTERN: &str = r"
        \#\#\#\s*情节(\d+)：\s*
        -\s*\*\*情节描述\*\*\s*：\s*(.*?)\s*
        -\s*\*\*相关人物\*\*\s*：\s*(.*?)(?=\#\#\#|\Z)
    ";
// extract_nickname_mapper
pub const NICKNAME_SYSTEM_PROMPT: &str = r"给定你一段文本，你的任务是将人物之间的称呼方式（昵称）提取出来。
要求：
- 需要给出说话人对被称呼人的称呼，不要搞反了。
- 相同的说话人和被称呼人最多给出一个最常用的称呼。
- 请不要输出互相没有昵称的称呼方式。
- 输出格式如下：
```
### 称呼方式1
- **说话人**：...
- **被称呼人**：...
- **...对...的昵称**：...
### 称呼方式2
- **说话人**：...
- **被称呼人**：...
- **...对...的昵称**：...
### 称呼方式3
- **说话人**：...
- **被称呼人**：...
- **...对...的昵称**：...
...
```
";
pub const NICKNAME_INPUT_TEMPLATE: &str = "# 文本\n```\n{text}\n```\n";
pub const NICKNAME_OUTPUT_PATTERN: &str = r"
        \#\#\#\s*称呼方式(\d+)\s*
        -\s*\*\*说话人\*\*\s*：\s*(.*?)\s*
        -\s*\*\*被称呼人\*\*\s*：\s*(.*?)\s*
        -\s*\*\*(.*?)对(.*?)的昵称\*\*\s*：\s*(.*?)(?=\#\#\#|\Z) # for double check
    ";
// extract_support_text_mapper
pub const SUPPORT_TEXT_SYSTEM_PROMPT: &str = r"你将扮演一个文本摘录助手的角色。你的主要任务是基于给定的文章（称为“原文”）以及对原文某个部分的简短描述或总结（称为“总结”），准确地识别并提取出与该总结相对应的原文片段。
要求：
- 你需要尽可能精确地匹配到最符合总结内容的那部分内容
- 如果存在多个可能的答案，请选择最贴近总结意思的那个
- 下面是一个例子帮助理解这一过程：
### 原文：
《红楼梦》是中国古典小说四大名著之一，由清代作家曹雪芹创作。它讲述了贾宝玉、林黛玉等人的爱情故事及四大家族的兴衰历程。书中通过复杂的人物关系展现了封建社会的各种矛盾冲突。其中关于贾府内部斗争的部分尤其精彩，特别是王熙凤与尤二姐之间的争斗，生动描绘了权力争夺下的女性形象。此外，《红楼梦》还以其精美的诗词闻名，这些诗词不仅增添了文学色彩，也深刻反映了人物的性格特点和命运走向。

### 总结：
描述了书中的两个女性角色之间围绕权力展开的竞争。

### 原文摘录：
其中关于贾府内部斗争的部分尤其精彩，特别是王熙凤与尤二姐之间的争斗，生动描绘了权力争夺下的女性形象。";
pub const SUPPORT_TEXT_INPUT_TEMPLATE: &str =
    "### 原文：\n{text}\n\n### 总结：\n{summary}\n\n### 原文摘录：\n";
// optimize_prompt_mapper
pub const OPTIMIZE_PROMPT_SYSTEM_PROMPT: &str = r"请你仔细观察多个示例提示词，按照你的理解，总结出相应规矩，然后写出一个新的更好的提示词，以让模型更好地完成指定任务。注意，新生成的【提示词】需要满足如下要求：
1. 生成的【提示词】不能与输入的【提示词】完全一致，但是需要保持格式类似。
2. 生成的【提示词】相比于输入的【提示词】不能有很大的变化，更多应该是关键词、核心参数等方面的微调。
3. 生成时只需生成带有【提示词】前缀的提示词，不需生成其他任何额外信息。
";
pub const OPTIMIZE_PROMPT_EXAMPLE_TEMPLATE: &str = "\n如下是一条示例数据：\n{}";
pub const OPTIMIZE_PROMPT_PROMPT_TEMPLATE: &str = "【提示词】\n{}\n";
pub const OPTIMIZE_PROMPT_OUTPUT_PATTERN: &str = r"【提示词】(.*?)(?=【|$)";
// optimize_qa_mapper
pub const OPTIMIZE_QA_SYSTEM_PROMPT: &str = "请优化输入的问答对，使【问题】和【回答】都更加详细、准确。必须按照以下标记格式，直接输出优化后的问答对：\n【问题】\n优化后的问题\n【回答】\n优化后的回答";
pub const OPTIMIZE_QA_INPUT_TEMPLATE: &str = "以下是原始问答对：\n{}";
pub const OPTIMIZE_QA_QA_PAIR_TEMPLATE: &str = "【问题】\n{}\n【回答】\n{}";
pub const OPTIMIZE_QA_OUTPUT_PATTERN: &str = r".*?【问题】\s*(.*?)\s*【回答】\s*(.*)";
// optimize_query_mapper
pub const OPTIMIZE_QUERY_SYSTEM_PROMPT: &str = r"优化问答对中的【问题】，将其更加详细具体，但仍可以由原答案回答。只输出优化后的【问题】，不要输出多余内容。";
// optimize_response_mapper
pub const OPTIMIZE_RESPONSE_SYSTEM_PROMPT: &str = r"请优化问答对中的回答，将其更加详细具体，但仍可以回答原问题。只输出优化后的回答，不要输出多余内容。";
// calibrate_qa_mapper
pub const CALIBRATE_QA_SYSTEM_PROMPT: &str = "请根据提供的【参考信息】对【问题】和【回答】进行校准，使其更加详细、准确。\n按照以下格式输出：\n【问题】\n校准后的问题\n【回答】\n校准后的回答";
pub const CALIBRATE_QA_INPUT_TEMPLATE: &str = "{reference}\n{qa_pair}";
pub const CALIBRATE_QA_REFERENCE_TEMPLATE: &str = "【参考信息】\n{}";
pub const CALIBRATE_QA_QA_PAIR_TEMPLATE: &str = "【问题】\n{}\n【回答】\n{}";
pub const CALIBRATE_QA_OUTPUT_PATTERN: &str = r"【问题】\s*(.*?)\s*【回答】\s*(.*)";
// calibrate_query_mapper
pub const CALIBRATE_QUERY_SYSTEM_PROMPT: &str = r"请根据提供的【参考信息】对问答对中的【问题】进行校准，        使其更加详细、准确，且仍可以由原答案回答。只输出校准后的问题，不要输出多余内容。";
// calibrate_response_mapper
pub const CALIBRATE_RESPONSE_SYSTEM_PROMPT: &str = r"请根据提供的【参考信息】对问答对中的【回答】进行校准，        使其更加详细、准确，且仍可以回答原问题。只输出校准后的回答，不要输出多余内容。";
// dialog_intent_detection_mapper
pub const DIALOG_INTENT_SYSTEM_PROMPT: &str = r"请判断用户和LLM多轮对话中用户的意图。
要求：
- 需要先进行分析，然后列出用户所具有的意图，下面是一个样例，请模仿样例格式输出。
用户：你好，我最近对人工智能很感兴趣，能给我讲讲什么是机器学习吗？
意图分析：用户在请求信息，希望了解有关机器学习的基础知识。
意图类别：信息查找
LLM：你好！当然可以。机器学习是一种人工智能方法，允许计算机通过数据自动改进和学习。
用户：听起来很有趣，有没有推荐的入门书籍或资料？
意图分析：用户在请求建议，希望获取关于机器学习的入门资源。
意图类别：请求建议
LLM：有很多不错的入门书籍和资源。一本常被推荐的书是《Python机器学习实践》（Python Machine Learning），它涵盖了基础知识和一些实际案例。此外，您还可以参考Coursera或edX上的在线课程，这些课程提供了系统的学习路径。
用户：谢谢你的建议！我还想知道，学习机器学习需要什么样的数学基础？
意图分析：用户在寻求信息，希望了解学习机器学习所需的前提条件，特别是在数学方面。
意图类别：信息查找
LLM：学习机器学习通常需要一定的数学基础，特别是线性代数、概率论和统计学。这些数学领域帮助理解算法的工作原理和数据模式分析。如果您对这些主题不太熟悉，建议先从相关基础书籍或在线资源开始学习。
用户：明白了，我会先补习这些基础知识。再次感谢你的帮助！
意图分析：用户表达感谢，并表示计划付诸行动来补充所需的基础知识。
意图类别：其他";
pub const DIALOG_INTENT_QUERY_TEMPLATE: &str = "用户：{query}\n";
pub const DIALOG_INTENT_RESPONSE_TEMPLATE: &str = "LLM：{response}\n";
pub const DIALOG_INTENT_CANDIDATES_TEMPLATE: &str = r"备选意图类别：[{candidate_str}]";
pub const DIALOG_INTENT_ANALYSIS_TEMPLATE: &str = "意图分析：{analysis}\n";
pub const DIALOG_INTENT_LABELS_TEMPLATE: &str = "意图类别：{labels}\n";
pub const DIALOG_INTENT_ANALYSIS_PATTERN: &str = "意图分析：(.*?)\n";
pub const DIALOG_INTENT_LABELS_PATTERN: &str = "意图类别：(.*?)($|\n)";
// dialog_topic_detection_mapper
pub const DIALOG_TOPIC_SYSTEM_PROMPT: &str = r"请判断用户和LLM多轮对话中用户所讨论的话题。
要求：
- 针对用户的每个query，需要先进行分析，然后列出用户正在讨论的话题，下面是一个样例，请模仿样例格式输出。
用户：你好，今天我们来聊聊秦始皇吧。
话题分析：用户提到秦始皇，这是中国历史上第一位皇帝。
话题类别：历史
LLM：当然可以，秦始皇是中国历史上第一个统一全国的皇帝，他在公元前221年建立了秦朝，并采取了一系列重要的改革措施，如统一文字、度量衡和货币等。
用户：秦始皇修建的长城和现在的长城有什么区别？
话题分析：用户提到秦始皇修建的长城，并将其与现代长城进行比较，涉及建筑历史和地理位置。
话题类别：历史LLM：秦始皇时期修建的长城主要是为了抵御北方游牧民族的入侵，它的规模和修建技术相对较为简陋。现代人所看到的长城大部分是明朝时期修建和扩建的，明长城不仅规模更大、结构更坚固，而且保存得比较完好。
用户：有意思，那么长城的具体位置在哪些省份呢？
话题分析：用户询问长城的具体位置，涉及到地理知识。
话题类别：地理
LLM：长城横跨中国北方多个省份，主要包括河北、山西、内蒙古、宁夏、陕西、甘肃和北京等。每一段长城都建在关键的战略位置，以便最大限度地发挥其防御作用。
";
pub const DIALOG_TOPIC_QUERY_TEMPLATE: &str = "用户：{query}\n";
pub const DIALOG_TOPIC_RESPONSE_TEMPLATE: &str = "LLM：{response}\n";
pub const DIALOG_TOPIC_CANDIDATES_TEMPLATE: &str = r"备选话题类别：[{candidate_str}]";
pub const DIALOG_TOPIC_ANALYSIS_TEMPLATE: &str = "话题分析：{analysis}\n";
pub const DIALOG_TOPIC_LABELS_TEMPLATE: &str = "话题类别：{labels}\n";
pub const DIALOG_TOPIC_ANALYSIS_PATTERN: &str = "话题分析：(.*?)\n";
pub const DIALOG_TOPIC_LABELS_PATTERN: &str = "话题类别：(.*?)($|\n)";
// dialog_sentiment_detection_mapper
pub const DIALOG_SENTIMENT_SYSTEM_PROMPT: &str = r"请判断用户和LLM多轮对话中用户所具有的情绪。
要求：
- 需要先进行分析，然后罗列用户所具有的情绪，下面是一个样例，请模仿样例格式输出。
用户：最近工作压力好大，我觉得整个人都快被压垮了。
情感分析：用户的言语中透露出明显的压力和疲惫感，可能还夹杂着一些无助和焦虑。
情感类别：压力、疲惫、无助、焦虑
LLM：听起来你真的承受了很多，面临这种情况确实不容易。有没有考虑过找一些放松的方式，比如听音乐或者散步来减轻压力呢？
用户：试过了，但是好像没什么效果，每天的事情都堆积如山。
情感分析：用户感到无力解决现状，有挫败感，并且对尝试放松的方式失去信心。
情感类别：无力、挫败
LLM：我理解你的感受，有时候压力积累到一定程度确实让人难以承受。或许你可以尝试规划一下时间，把任务分成小块来完成，这样可能会减少一些压力感。
用户：这个主意不错，我会试着让自己更有条理一些，谢谢你的建议。
情感分析：用户对建议表现出认同和感激，同时展现出试图积极面对问题的态度。
情感类别：认同、感激、积极
LLM：不用谢，我很高兴能帮到你。记得给自己一些时间去适应新的计划，有任何需要随时可以跟我说哦！
";
pub const DIALOG_SENTIMENT_QUERY_TEMPLATE: &str = "用户：{query}\n";
pub const DIALOG_SENTIMENT_RESPONSE_TEMPLATE: &str = "LLM：{response}\n";
pub const DIALOG_SENTIMENT_CANDIDATES_TEMPLATE: &str = r"备选情感类别：[{candidate_str}]";
pub const DIALOG_SENTIMENT_ANALYSIS_TEMPLATE: &str = "情感分析：{analysis}\n";
pub const DIALOG_SENTIMENT_LABELS_TEMPLATE: &str = "情感类别：{labels}\n";
pub const DIALOG_SENTIMENT_ANALYSIS_PATTERN: &str = "情感分析：(.*?)\n";
pub const DIALOG_SENTIMENT_LABELS_PATTERN: &str = "情感类别：(.*?)($|\n)";
// dialog_sentiment_intensity_mapper
pub const DIALOG_INTENSITY_SYSTEM_PROMPT: &str = r"请判断用户和LLM多轮对话中用户的情绪变化。
要求：
- 用户情绪值是-5到5之间到整数，-5表示极度负面，5表示极度正面，-5到5之间数值表示情绪从负面逐渐到正面的变化过程，0代表情呈绪中性。
- 只输出当轮对话的分析，不要继续构造对话。
- 需要先进行分析，然后确定用户的情绪值，下面是一个样例，请模仿样例格式输出。
用户：你好，我对可持续发展的定义有点模糊，帮我解释一下？
情绪分析：刚开始，还没得到LLM回复，用户情绪呈中性。
情绪值：0
LLM：当然可以！可持续发展是指在满足当代人的需求的同时，不损害子孙后代满足其自身需求的能力的发展模式。它包括经济发展、社会发展和环境保护三个主要方面。通过合理利用资源和保护环境，我们可以确保未来的世代也能享有健全的生态系统和经济制度。
用户：谢谢你的解释！那你能告诉我一些普通人可以采取的可持续生活方式吗？
情绪分析：对回答感到满意，情绪正面。
情绪值：1
LLM：当然可以，普通人可以通过减少一次性产品的使用、选择公共交通或拼车、节约用水、以及支持本地和可持续发展的企业等方式来践行可持续生活。此外，关注垃圾分类和多用电子账单也是不错的选择。
用户：你提到支持本地企业，这一点我很感兴趣。能详细说说为什么这对可持续发展有促进作用吗？
情绪分析：觉得回答实用且具体，情绪进一步转好。
情绪值：2
LLM：呃，我最近发现了一部新电影，讲述了一个关于外星人和地球土著合作保护环境的故事。虽然它是科幻片，但很有启发性，推荐你去看看。
用户：什么吗，根本是答非所问。
情绪分析：LLM没有回应问题而是提到无关内容，导致用户情绪直线下降。
情绪值：-2
LLM：抱歉刚才的偏题！支持本地企业有助于减少长途运输产生的碳足迹，使供应链更加环保。此外，本地企业也更有可能采用可持续的生产方式，同时促进社区经济的繁荣。
用户：还行吧，算你能够掰回来。
情绪分析：问题得到解答，问题偏题得到纠正，情绪稍有好转。
情绪值：-1
";
pub const DIALOG_INTENSITY_QUERY_TEMPLATE: &str = "用户：{query}\n";
pub const DIALOG_INTENSITY_RESPONSE_TEMPLATE: &str = "LLM：{response}\n";
pub const DIALOG_INTENSITY_ANALYSIS_TEMPLATE: &str = "情绪分析：{analysis}\n";
pub const DIALOG_INTENSITY_INTENSITY_TEMPLATE: &str = "情绪值：{intensity}\n";
pub const DIALOG_INTENSITY_ANALYSIS_PATTERN: &str = "情绪分析：(.*?)\n";
pub const DIALOG_INTENSITY_INTENSITY_PATTERN: &str = "情绪值：(.*?)($|\n)";
// pair_preference_mapper
pub const PAIR_PREFERENCE_SYSTEM_PROMPT: &str = r"你的任务是根据参考信息修改问答对中的回答，在语言风格、事实性、人物身份、立场等任一方面与原回答相反。必须按照以下标记格式输出，不要输出其他多余内容。
【回答】
生成的新回答
【原因】
生成该回答的原因";
pub const PAIR_PREFERENCE_INPUT_TEMPLATE: &str =
    "【参考信息】\n{reference}\n\n以下是原始问答对：\n【问题】\n{query}\n【回答】\n{response}";
pub const PAIR_PREFERENCE_OUTPUT_PATTERN: &str = r".*?【回答】\s*(.*?)\s*【原因】\s*(.*)";
// relation_identity_mapper
pub const RELATION_IDENTITY_SYSTEM_PROMPT_TEMPLATE: &str = r"给定关于{entity1}和{entity2}的文本信息。判断{entity1}和{entity2}之间的关系。
要求：
- 关系用一个或多个词语表示，必要时可以加一个形容词来描述这段关系
- 输出关系时不要参杂任何标点符号
- 需要你进行合理的推理才能得出结论
- 如果两个人物身份是同一个人，输出关系为：另一个身份
- 输出格式为：
分析推理：...
所以{entity2}是{entity1}的：...
- 注意输出的是{entity2}是{entity1}的什么关系，而不是{entity1}是{entity2}的什么关系";
pub const RELATION_IDENTITY_INPUT_TEMPLATE: &str =
    "关于{entity1}和{entity2}的文本信息：\n```\n{text}\n```\n";
pub const RELATION_IDENTITY_OUTPUT_PATTERN_TEMPLATE: &str = "\n        \\s*分析推理：\\s*(.*?)\\s*\n        \\s*所以{entity2}是{entity1}的：\\s*(.*?)\\Z\n    ";
// pii_llm_suspect_mapper
pub const PII_SYSTEM_PROMPT: &str = r#"你是数据合规审计助手。下面给出若干字段的截断文本（可能已部分脱敏）。请只识别**仍可能残留的敏感信息**（如真实人名、未脱敏手机号/证件片段、内网地址、密钥片段、可识别工号、仍未规则脱敏的 URL/IPv4/MAC、JWT/PEM/credential 片段等）。不要编造；不确定则不要列出。必须只输出一个 JSON 对象，不要 markdown，不要解释。Schema:
{"suspected":[{"field":"字段名","category":"类型简述","evidence":"从输入中摘录的极短原文片段≤48字符"}],"likely_clean":true或false}
若无可疑项，suspected 用 []，likely_clean 用 true。"#;
pub const PII_SYSTEM_PROMPT_EN: &str = r#"You are a data-compliance auditor. Below are truncated field excerpts (possibly partially redacted). Identify **only** residual sensitive data (real names, phone/ID fragments, intranet hosts, secret snippets, identifiable employee IDs, raw URLs/IPv4/MAC not yet redacted, JWT/PEM/credential fragments, etc.). Do not invent; if unsure, omit.
Output exactly one JSON object, no markdown. Schema:
{"suspected":[{"field":"field_key","category":"short_type","evidence":"verbatim snippet from input, ≤48 chars"}],"likely_clean":true or false}
Use suspected=[] and likely_clean=true when nothing suspicious."#;
// llm_extract_mapper, llm_condition_filter
pub const EXTRACT_SYSTEM: &str = r"You are a precise information extraction assistant. Given the input text, extract the requested fields and return ONLY a valid JSON object. Use the exact output keys provided. If a value cannot be determined, use null.";
pub const EXTRACT_USER_TEMPLATE: &str = r"# Input
{input_text}

# Instructions (output keys and what to extract)
{output_instructions}

# Output
Return a single JSON object with the above keys. No explanation.";
pub const CONDITION_SYSTEM: &str =
    r"You are a binary classifier. Answer only 'yes' or 'no', nothing else.";
pub const CONDITION_USER_TEMPLATE: &str = r"# Text
{text}

# Condition
{condition}

Does the text satisfy the condition? Answer yes or no.";

// generate_qa_from_examples_mapper
pub const QA_FROM_EXAMPLES_SYSTEM: &str = "请你仔细观察多个示例数据的输入和输出，按照你的理解，总结出相应规矩，然后写出一个新的【问题】和【回答】。注意，新生成的【问题】和【回答】需要满足如下要求：\n1. 生成的【问题】和【回答】不能与输入的【问题】和【回答】一致，但是需要保持格式相同。\n2. 生成的【问题】不一定要局限于输入【问题】的话题或领域，生成的【回答】需要正确回答生成的【问题】。\n3. 提供的【问题】和【回答】可能是多轮对话，生成的【问题】和【回答】也可以是多轮，但是需要保持格式相同。\n4. 生成的【问题】和【回答】必须成对出现，而且【问题】需要在【回答】之前。\n";
pub const QA_FROM_EXAMPLES_EXAMPLE: &str = "\n如下是一条示例数据：\n{}";
pub const QA_FROM_EXAMPLES_PAIR: &str = "【问题】\n{}\n【回答】\n{}\n";
pub const QA_FROM_EXAMPLES_PATTERN: &str = "【问题】(.*?)【回答】(.*?)(?=【问题】|$)";
