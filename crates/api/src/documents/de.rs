//! Gives a parsed document to serde. An error knows the place and the path of the innermost value that was refused.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::tree::{Node, Place, Value};

/// Why a document has not the form that was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Where; set by the innermost value.
    pub place: Option<Place>,
    /// `osPolicies[0].mode`; empty for the document itself.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl Refused {
    fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }

    fn below(mut self, step: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{step}{dot}{}", self.path);
        self
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Refused { place: None, path: String::new(), message: message.to_string() }
    }
}

/// Reads a document.
pub fn read<T: DeserializeOwned>(node: &Node) -> Result<T, Refused> {
    T::deserialize(De(node))
}

struct De<'n>(&'n Node);

impl De<'_> {
    fn scalar(&self) -> Option<(&str, bool)> {
        match &self.0.value {
            Value::Scalar { text, is_plain } => Some((text, *is_plain)),
            _ => None,
        }
    }

    fn plain(&self) -> Option<&str> {
        self.scalar().filter(|(_, is_plain)| *is_plain).map(|(text, _)| text)
    }
}

/// A plain scalar as YAML's core schema reads it, where the field does not say what it wants.
fn visit_scalar<'de, V: Visitor<'de>>(text: &str, is_plain: bool, visitor: V) -> Result<V::Value, Refused> {
    if !is_plain {
        return visitor.visit_str(text);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return visitor.visit_unit(),
        "true" | "True" | "TRUE" => return visitor.visit_bool(true),
        "false" | "False" | "FALSE" => return visitor.visit_bool(false),
        _ => {}
    }
    // 0644 is no number: in JSON it is none, in YAML 1.1 it is 420.
    let leads_with_zero = text.trim_start_matches(['-', '+']).len() > 1 && text.trim_start_matches(['-', '+']).starts_with('0');
    if leads_with_zero && !text.contains('.') {
        return visitor.visit_str(text);
    }
    if let Ok(n) = text.parse::<i64>() {
        return visitor.visit_i64(n);
    }
    if let Ok(n) = text.parse::<u64>() {
        return visitor.visit_u64(n);
    }
    match text.parse::<f64>() {
        Ok(n) if n.is_finite() && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) => visitor.visit_f64(n),
        _ => visitor.visit_str(text),
    }
}

impl<'de> de::Deserializer<'de> for De<'_> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let place = self.0.place;
        let answer = match &self.0.value {
            Value::Scalar { text, is_plain } => visit_scalar(text, *is_plain, visitor),
            Value::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Map(entries) => visitor.visit_map(Entries { entries, next: 0 }),
        };
        answer.map_err(|e| e.at(place))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.scalar() {
            // `name:` with nothing behind it is no text, as in every other reader.
            Some((text, _)) if !self.0.is_nothing() => visitor.visit_str(text).map_err(|e: Refused| e.at(self.0.place)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        if self.0.is_nothing() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let place = self.0.place;
        let answer = match &self.0.value {
            Value::Scalar { text, .. } => {
                let word: StrDeserializer<'_, Refused> = text.as_str().into_deserializer();
                visitor.visit_enum(word)
            }
            Value::Map(entries) => match entries.as_slice() {
                [entry] => visitor.visit_enum(Variant(entry)),
                _ => Err(de::Error::custom(format!("has {} keys; give exactly one of {}", entries.len(), variants.join(", ")))),
            },
            Value::List(_) => Err(de::Error::custom(format!("a list is no {name}; give one of {}", variants.join(", ")))),
        };
        answer.map_err(|e| e.at(place))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        // A number is refused by the visitor, not read as a truth.
        match self.plain() {
            Some("true" | "false") | None => self.deserialize_any(visitor),
            Some(text) => {
                let message = format!("invalid value: {text:?}, expected true or false");
                Err(Refused { place: Some(self.0.place), path: String::new(), message })
            }
        }
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct
        map struct identifier ignored_any
    }
}

struct Items<'n> {
    items: &'n [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refused> {
        let index = self.next;
        let Some(node) = self.items.get(index) else { return Ok(None) };
        self.next += 1;
        seed.deserialize(De(node)).map(Some).map_err(|e| e.at(node.place).below(&format!("[{index}]")))
    }
}

struct Entries<'n> {
    entries: &'n [(String, Place, Node)],
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        let Some((name, place, _)) = self.entries.get(self.next) else { return Ok(None) };
        let word: StrDeserializer<'_, Refused> = name.as_str().into_deserializer();
        seed.deserialize(word).map(Some).map_err(|e| e.at(*place).below(name))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        let (name, _, node) = self.entries.get(self.next).ok_or_else(|| de::Error::custom("a value is missing"))?;
        self.next += 1;
        seed.deserialize(De(node)).map_err(|e| e.at(node.place).below(name))
    }
}

struct Variant<'n>(&'n (String, Place, Node));

impl<'de, 'n> de::EnumAccess<'de> for Variant<'n> {
    type Error = Refused;
    type Variant = VariantValue<'n>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, VariantValue<'n>), Refused> {
        let (name, place, node) = self.0;
        let word: StrDeserializer<'_, Refused> = name.as_str().into_deserializer();
        let variant = seed.deserialize(word).map_err(|e: Refused| e.at(*place).below(name))?;
        Ok((variant, VariantValue { name, node }))
    }
}

struct VariantValue<'n> {
    name: &'n str,
    node: &'n Node,
}

impl<'de> de::VariantAccess<'de> for VariantValue<'_> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        if self.node.is_nothing() { Ok(()) } else { Err(de::Error::custom(format!("{} has no value", self.name))) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Refused> {
        seed.deserialize(De(self.node)).map_err(|e| e.at(self.node.place).below(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Refused> {
        de::Deserializer::deserialize_any(De(self.node), visitor).map_err(|e| e.below(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], visitor: V) -> Result<V::Value, Refused> {
        de::Deserializer::deserialize_any(De(self.node), visitor).map_err(|e| e.below(self.name))
    }
}
