//! Where bags are from, told by their names.

use crate::bag::Bags;
use crate::error::{Error, Result};

/// The tissue source site of each bag by the barcode of its group, or of the bag itself where there are no groups: `A7` of
/// `TCGA-A7-A0CD-01Z-00-DX1`.
///
/// # Errors
/// [`Error::Bags`] that names the first that is no barcode.
pub fn of_barcodes(bags: &Bags) -> Result<Vec<String>> {
    let names = bags.groups.as_ref().unwrap_or(&bags.names);
    let site = |name: &String| {
        let message = format!("'{name}' is no barcode of TCGA; expected one such as TCGA-A7-A0CD-01Z");
        site_of(name).map(str::to_owned).ok_or_else(|| Error::bags(message))
    };
    names.iter().map(site).collect()
}

fn site_of(barcode: &str) -> Option<&str> {
    let mut parts = barcode.split('-');
    let (project, site, _) = (parts.next()?, parts.next()?, parts.next()?);
    let is_code = site.len() == 2 && site.bytes().all(|b| b.is_ascii_alphanumeric());
    (project.eq_ignore_ascii_case("TCGA") && is_code).then_some(site)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Features;

    #[test]
    fn the_second_part_of_a_barcode_is_the_site() {
        assert_eq!(site_of("TCGA-A7-A0CD-01Z-00-DX1.F045B9C8"), Some("A7"));
        assert_eq!([site_of("TCGA-A7"), site_of("TCGA-A7X-A0CD"), site_of("slide-A7-1")], [None; 3]);
        let mut bags = Bags::packed(Features::F32(vec![0.0, 1.0]), 1, &[1, 1]).unwrap();
        bags.names = vec!["one".into(), "two".into()];
        assert!(of_barcodes(&bags).unwrap_err().to_string().contains("'one' is no barcode of TCGA"));
        bags.groups = Some(vec!["TCGA-BH-A0B3".into(), "TCGA-E2-A14N".into()]);
        assert_eq!(of_barcodes(&bags).unwrap(), ["BH", "E2"]);
    }
}
