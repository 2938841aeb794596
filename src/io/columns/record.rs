//! What a row hands over to a column file: where its input has it, and what is to stand in which
//! column instead.

/// One image of a row: its path, and its content if there is any.
pub type RowImage<'a> = (&'a str, Option<&'a [u8]>);

/// A row on its way into a column file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record<'a> {
    /// The input, and the row there, if it is a column file that has the row.
    pub at: Option<(u32, u64)>,
    /// Members of the row, each by its name and as JSON: those that the input does not have so.
    pub members: Vec<(&'a str, &'a str)>,
    /// About how many bytes the input has of it.
    pub weight: u64,
    /// Images that take the place of the input's, if any do.
    pub images: Option<Vec<RowImage<'a>>>,
}

const HAS_PLACE: u8 = 1;
const HAS_IMAGES: u8 = 2;

impl<'a> Record<'a> {
    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.size());
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(flag(self.at.is_some(), HAS_PLACE) | flag(self.images.is_some(), HAS_IMAGES));
        if let Some((file, row)) = self.at {
            out.extend_from_slice(&file.to_le_bytes());
            out.extend_from_slice(&row.to_le_bytes());
        }
        out.extend_from_slice(&self.weight.to_le_bytes());
        out.extend_from_slice(&(self.members.len() as u64).to_le_bytes());
        for (name, json) in &self.members {
            push(name.as_bytes(), out);
            push(json.as_bytes(), out);
        }
        for (path, content) in self.images.iter().flatten() {
            push(path.as_bytes(), out);
            out.push(u8::from(content.is_some()));
            push(content.unwrap_or_default(), out);
        }
    }

    /// The bytes that it takes, at most.
    #[must_use]
    pub fn size(&self) -> usize {
        const LENGTH: usize = size_of::<u64>();
        let members = self.members.iter();
        let members = members.map(|(name, json)| 2 * LENGTH + name.len() + json.len());
        let images =
            self.images.iter().flatten().map(|(path, content)| {
                2 * LENGTH + 1 + path.len() + content.map_or(0, <[u8]>::len)
            });
        5 * LENGTH + members.sum::<usize>() + images.sum::<usize>()
    }

    /// What [`Record::encode`] wrote.
    #[must_use]
    pub fn decode(mut bytes: &'a [u8]) -> Option<Self> {
        let [flags] = take(&mut bytes)?;
        let at = if flags & HAS_PLACE == 0 {
            None
        } else {
            let file = u32::from_le_bytes(take(&mut bytes)?);
            Some((file, u64::from_le_bytes(take(&mut bytes)?)))
        };
        let weight = u64::from_le_bytes(take(&mut bytes)?);
        let mut members = Vec::new();
        for _ in 0..u64::from_le_bytes(take(&mut bytes)?) {
            members.push((text(&mut bytes)?, text(&mut bytes)?));
        }
        let mut images = (flags & HAS_IMAGES != 0).then(Vec::new);
        while let (Some(images), false) = (&mut images, bytes.is_empty()) {
            let path = text(&mut bytes)?;
            let [has] = take(&mut bytes)?;
            let content = block(&mut bytes)?;
            images.push((path, (has == 1).then_some(content)));
        }
        Some(Self {
            at,
            members,
            weight,
            images,
        })
    }
}

/// Appends a block behind its length.
pub fn push(block: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(block.len() as u64).to_le_bytes());
    out.extend_from_slice(block);
}

/// Takes what [`push`] appended.
#[must_use]
pub fn block<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(u64::from_le_bytes(take(bytes)?)).ok()?;
    let (block, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(block)
}

/// Takes so many bytes.
#[must_use]
pub fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(block(bytes)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        for record in [
            Record::default(),
            Record {
                at: Some((3, 1 << 40)),
                members: vec![("a", "1"), ("b", "\"x\"")],
                weight: 9,
                images: Some(vec![("é.jpg", Some(&[0, 255])), ("b", None)]),
            },
            Record {
                images: Some(Vec::new()),
                ..Record::default()
            },
        ] {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert!(bytes.len() <= record.size());
            assert_eq!(Record::decode(&bytes).as_ref(), Some(&record));
            assert_eq!(Record::decode(&bytes[..bytes.len() - 1]).as_ref(), None);
        }
    }
}
