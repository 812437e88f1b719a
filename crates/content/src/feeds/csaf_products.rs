//! CSAF's product tree: which id means which package in which product.
//!
//! An id is a relationship "component of platform", and the component may be one of a module that is itself one of the
//! platform. Packages are known by their purl, or (SUSE) by their file name; platforms by their CPE or name.
//!
//! Absent: products that are no rpm packages (container images, Java archives), CVRF.

use std::collections::HashMap;

use drydock_domain::advisory::{ModuleRef, Product};
use serde::Deserialize;

use super::lenient::{List, Object, Text};
use super::osv_fix::module;
use super::product::{cpe, suse_name};
use super::text;

/// Relationships and products of a document, count.
pub(super) const PRODUCTS_MAX: usize = 400_000;
/// Branches of one branch, count.
const BRANCHES_MAX: usize = 400_000;
/// Steps from an id to its platform: package, module, platform.
const STEPS_MAX: usize = 4;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tree<'a> {
    #[serde(borrow)]
    branches: List<Branch<'a>, BRANCHES_MAX>,
    #[serde(borrow)]
    full_product_names: List<Object<FullName<'a>>, PRODUCTS_MAX>,
    #[serde(borrow)]
    relationships: List<Relationship<'a>, PRODUCTS_MAX>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Branch<'a> {
    #[serde(borrow)]
    product: Option<Object<FullName<'a>>>,
    #[serde(borrow)]
    branches: List<Branch<'a>, BRANCHES_MAX>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FullName<'a> {
    #[serde(borrow)]
    product_id: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    product_identification_helper: Object<Helper<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Helper<'a> {
    #[serde(borrow)]
    cpe: Text<'a>,
    #[serde(borrow)]
    purl: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Relationship<'a> {
    #[serde(borrow)]
    product_reference: Text<'a>,
    #[serde(borrow)]
    relates_to_product_reference: Text<'a>,
    #[serde(borrow)]
    full_product_name: Object<FullName<'a>>,
}

/// A package as a purl or file name says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Component {
    pub name: String,
    /// `[epoch:]version-release`; empty when no version is meant.
    pub version: String,
    pub arch: String,
    pub module: Option<ModuleRef>,
}

/// What an id means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A package in these products.
    Package(Component, Vec<Product>),
    /// No rpm package, or none that is named.
    NoPackage,
    /// Of a platform that is none of ours.
    OtherPlatform,
    /// Not in the tree.
    Unknown,
}

/// The tree, ready to be asked.
pub(super) struct Products<'t> {
    /// Id → its own words.
    names: HashMap<&'t str, &'t FullName<'t>>,
    /// Id → component, platform.
    relations: HashMap<&'t str, (&'t str, &'t str)>,
    /// What was left out of the tree.
    pub dropped: u64,
}

impl<'t> Products<'t> {
    pub(super) fn new(tree: &'t Tree<'t>) -> Self {
        let mut products = Products {
            names: HashMap::new(),
            relations: HashMap::new(),
            dropped: tree.relationships.dropped + tree.full_product_names.dropped,
        };
        for name in tree.full_product_names.iter() {
            products.names.insert(name.product_id.as_str(), name);
        }
        products.branches(&tree.branches);
        for relation in tree.relationships.iter() {
            let id = relation.full_product_name.product_id.as_str();
            let parts = (relation.product_reference.as_str(), relation.relates_to_product_reference.as_str());
            products.relations.insert(id, parts);
        }
        products
    }

    /// Recursion is bounded by the cutter's depth.
    fn branches(&mut self, branches: &'t List<Branch<'t>, BRANCHES_MAX>) {
        self.dropped += branches.dropped;
        for branch in branches.iter() {
            if let Some(product) = &branch.product {
                self.names.insert(product.product_id.as_str(), product);
            }
            self.branches(&branch.branches);
        }
    }

    /// What an id means.
    pub(super) fn meaning(&self, id: &str) -> Meaning {
        let Some((part, mut platform)) = self.relations.get(id).copied() else {
            return if self.names.contains_key(id) { Meaning::NoPackage } else { Meaning::Unknown };
        };
        let Some(mut component) = self.component(part) else { return Meaning::NoPackage };
        for _ in 0..STEPS_MAX {
            let Some((inner, outer)) = self.relations.get(platform).copied() else { break };
            component.module = component.module.or_else(|| self.module(inner));
            platform = outer;
        }
        match self.platform(platform) {
            Some(products) => Meaning::Package(component, products),
            None => Meaning::OtherPlatform,
        }
    }

    fn platform(&self, id: &str) -> Option<Vec<Product>> {
        let name = self.names.get(id)?;
        let helper = &name.product_identification_helper;
        if helper.cpe.is_empty() { suse_name(name.name.as_str()).or_else(|| suse_name(id)) } else { cpe(helper.cpe.as_str()) }
    }

    fn component(&self, id: &str) -> Option<Component> {
        let name = self.names.get(id);
        let purl_text = name.map(|name| name.product_identification_helper.purl.as_str()).unwrap_or_default();
        if !purl_text.is_empty() {
            return purl(purl_text);
        }
        file_name(name.map(|name| name.name.as_str()).filter(|name| !name.is_empty()).unwrap_or(id))
    }

    fn module(&self, id: &str) -> Option<ModuleRef> {
        let purl = self.names.get(id).map(|name| name.product_identification_helper.purl.as_str()).unwrap_or_default();
        match purl.strip_prefix("pkg:rpmmod/") {
            Some(rest) => {
                let rest = rest.split(['?', '#']).next().unwrap_or_default();
                let rest = rest.rsplit('/').next().unwrap_or_default();
                module(&text::percent_decode(rest).replacen('@', ":", 1))
            }
            None => module(id),
        }
    }
}

/// `pkg:rpm/redhat/nodejs@18.19.1-1.module%2Bel8?arch=x86_64&epoch=1&rpmmod=nodejs:18:…`; `None` when it is no rpm.
pub(super) fn purl(text: &str) -> Option<Component> {
    let rest = text.strip_prefix("pkg:rpm/")?;
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (path, version) = path.split_once('@').unwrap_or((path, ""));
    let name = text::name(&text::percent_decode(path.rsplit('/').next().unwrap_or_default()))?;
    let value = |key: &str| {
        let pair = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(k, _)| *k == key);
        pair.map(|(_, value)| text::percent_decode(value)).unwrap_or_default()
    };
    let (epoch, arch, rpmmod) = (value("epoch"), value("arch"), value("rpmmod"));
    let version = text::percent_decode(version);
    // Unfixed components of modules have the stream where the version is; a version of an rpm has a release.
    let version = match (version.contains('-'), epoch.trim_start_matches('0')) {
        (false, _) => String::new(),
        (true, "") => version,
        (true, epoch) => format!("{epoch}:{version}"),
    };
    Some(Component { name, version, arch, module: module(&rpmmod) })
}

/// `kernel-default-5.14.21-150500.55.1.x86_64`, `kernel-default-1:5.14-1.x86_64`, `kernel-default`, `nodejs:18/nodejs`.
pub(super) fn file_name(text: &str) -> Option<Component> {
    const ARCHES: [&str; 12] =
        ["x86_64", "noarch", "aarch64", "ppc64le", "s390x", "i586", "i686", "src", "nosrc", "ppc64", "s390", "armv7hl"];
    if let Some((stream, name)) = text.split_once('/') {
        return Some(Component { name: text::name(name)?, module: Some(module(stream)?), ..Component::default() });
    }
    let arch = text.rsplit_once('.').filter(|(_, arch)| ARCHES.contains(arch));
    let Some((rest, arch)) = arch else {
        return Some(Component { name: text::name(text)?, ..Component::default() });
    };
    let (rest, release) = rest.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    Some(Component { name: text::name(name)?, version: format!("{version}-{release}"), arch: arch.to_owned(), module: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purls_and_file_names() {
        let shown = |c: Option<Component>| match c {
            Some(c) => format!(
                "{}|{}|{}|{}",
                c.name,
                c.version,
                c.arch,
                c.module.map_or(String::new(), |m| format!("{}:{}:{}:{}", m.name, m.stream, m.version, m.context))
            ),
            None => "-".into(),
        };
        for (text, want) in [
            (
                "pkg:rpm/redhat/nodejs@18.19.1-1.module%2Bel8.9.0%2B1%2Bab?arch=x86_64&epoch=1&rpmmod=nodejs:18:809:ab",
                "nodejs|1:18.19.1-1.module+el8.9.0+1+ab|x86_64|nodejs:18:809:ab",
            ),
            ("pkg:rpm/redhat/kernel@4.18.0-1.el8?arch=src", "kernel|4.18.0-1.el8|src|"),
            ("pkg:rpm/redhat/php@7.2?arch=src&rpmmod=php:7.2", "php||src|php:7.2::"),
            ("pkg:rpm/suse/kernel-default@5.14.21-1?upstream=x.src.rpm", "kernel-default|5.14.21-1||"),
            ("pkg:oci/ubi8@sha256:00", "-"),
            ("pkg:rpm/redhat/", "-"),
            ("", "-"),
        ] {
            assert_eq!(shown(purl(text)), want, "{text}");
        }
        for (text, want) in [
            ("kernel-default-5.14.21-150500.55.1.x86_64", "kernel-default|5.14.21-150500.55.1|x86_64|"),
            ("bind-32:9.11.4-1.el7.x86_64", "bind|32:9.11.4-1.el7|x86_64|"),
            ("kernel-default", "kernel-default|||"),
            ("nodejs:18/nodejs", "nodejs|||nodejs:18::"),
            ("x.x86_64", "-"),
            ("a/b", "-"),
        ] {
            assert_eq!(shown(file_name(text)), want, "{text}");
        }
    }
}
