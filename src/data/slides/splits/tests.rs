use super::*;

/// The slides a, b.svs, 7 and d of the patients p, p, 7 and q.
fn parts_of(text: &str, which: Option<&str>) -> Result<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("splits_0.csv");
    std::fs::write(&path, text).unwrap();
    let slide = |(stem, patient): (&str, &str)| Candidate { stem: stem.into(), patient: Some(patient.into()) };
    let slides = [("a", "p"), ("b.svs", "p"), ("7", "7"), ("d", "q")].map(slide);
    let opening = Opening { which_split: which.map(str::to_owned), ..Opening::default() };
    let (parts, remarks) = parts(&path, &opening, &slides)?;
    let letter = |p: &Option<Split>| p.map_or("-".to_owned(), |p| p.name()[..2].to_owned());
    Ok(format!("{} {}", parts.iter().map(letter).collect::<Vec<_>>().join(" "), remarks.join("; ")))
}

fn read_as(text: &str, expected: &str) {
    assert_eq!(parts_of(text, None).unwrap(), expected);
}

fn refused(text: &str, which: Option<&str>, what: &str) {
    let message = parts_of(text, which).unwrap_err().to_string();
    assert!(message.contains(what), "{message}");
}

#[test]
fn columns_of_clam_are_read() {
    read_as(",train,val,test\n0,a,b,7.0\n1,d,,\n", "tr va te tr ");
    read_as("train,val,test\na,b,7\nd,nan,\n", "tr va te tr ");
    read_as(
        ",train,val,test\na,True,False,False\nb,False,True,False\n7,False,False,True\nd,TRUE,False,False\n",
        "tr va te tr ",
    );
    read_as(
        "train,test\na.svs,b\n",
        "tr te - - 2 slides are in no part of splits_0.csv and are left out, such as '7', 'd'",
    );
    let told = parts_of("train,test\na,b\nx,\n", None).unwrap();
    assert!(told.contains("1 slides of splits_0.csv are not there, such as 'x'"), "{told}");
}

#[test]
fn columns_side_by_side_are_read() {
    let header = "train_slide_path,train_label,val_slide_path,val_label,test_slide_path,test_label\n";
    read_as(&format!("{header}/x/a.pt,0,y/b.pt,1,/z/7.pt,0\n/x/d.pt,1,,,,\n"), "tr va te tr ");
    read_as(&format!("{header}a.pt,0,nan,nan,b.h5,1\n7.h5,1\nd,0\n"), "tr te tr tr ");
    refused(&format!("{header}a.pt,0,a.pt,0,,\n"), None, "slide 'a.pt' is both in train and in validation");
}

#[test]
fn a_line_for_each_slide_is_read() {
    let told = "splits_0.csv: column 'split' says the part of the slide in 'slide_id'";
    let nnmil = "slide_id,patient_id,split,label\na,p,train,0\nb,p,train,1\n7,7,test,0\nd,q,val,1\n";
    read_as(nnmil, &format!("tr tr te va {told}"));
    let told = "splits_0.csv: column 'split' says the part of the slide in 'bag_name'";
    read_as("bag_name,split\na,train\nb,test\n7,test\nd,train\n", &format!("tr te te tr {told}"));
    let told = "splits_0.csv: column 'Split' says the part of the slide in 'ID'";
    read_as("Case,ID,Label,Split\np,a,1,Train\np,b,0,Test\n7,7,0,Val\nq,d,1,Train\n", &format!("tr te va tr {told}"));
    // Patients alone: all their slides.
    let told = "splits_0.csv: column 'split' says the part of the patient in 'PATIENT'";
    read_as("PATIENT\tsplit\np\ttrain\n7\ttest\nq\ttest\n", &format!("tr tr te te {told}"));
}

#[test]
fn one_of_several_folds_is_chosen() {
    let folds = "case_id\tslide_id\tfold_0\tfold_1\ttask\np\ta\ttrain\ttest\t1\np\tb\ttrain\ttest\t0\n7\t7\ttest\ttrain\t1\n\
                 q\td\ttest\t\t0\n";
    let chosen = parts_of(folds, Some("fold_1")).unwrap();
    assert!(chosen.starts_with("te te tr - splits_0.csv: column 'fold_1'"), "{chosen}");
    assert!(parts_of(folds, Some("fold_0")).unwrap().starts_with("tr tr te te "));
    refused(folds, None, "has 2 divisions, the columns 'fold_0', 'fold_1': which one? (--which-split NAME)");
    refused(
        folds,
        Some("fold_7"),
        "no column is called 'fold_7' (--which-split); those with train, val and test are 'fold_0'",
    );
    refused(folds, Some("task"), "line 2: expected train, val or test in column 'task', found '1'");
    refused("train,test\na,b\n", Some("fold_0"), "has one division alone");
}

#[test]
fn lists_of_patients_are_read() {
    let folds = r#"{"splits": [{"train_patients": ["p", "z"], "test_patients": ["q"]},
                              {"train_patients": ["q"], "val_patients": [7], "test_patients": ["p"]}]}"#;
    let told = parts_of(folds, Some("0")).unwrap();
    assert!(told.starts_with("tr tr - te 1 patients of splits_0.csv are not there, such as 'z'"), "{told}");
    assert_eq!(parts_of(folds, Some("1")).unwrap(), "te te va tr ");
    refused(folds, None, "has 2 divisions, numbered from 0 to 1: which one? (--which-split N)");
    refused(folds, Some("2"), "none that is called '2'");
    refused("{}", None, "as STAMP writes it: missing field `splits`");
    refused(r#"{"splits": []}"#, None, "found no division");
    refused(r#"{"splits": [{"train_patients": ["p"]}]}"#, None, "missing field `test_patients`");
    let both = r#"{"splits": [{"train_patients": ["p"], "test_patients": ["p"]}]}"#;
    refused(both, None, "patient 'p' is both in train and in test");
    refused(r#"{"splits": [{"train_patients": ["x"], "test_patients": []}]}"#, None, "the slides are of 'p', 'p', '7'");
}

#[test]
fn what_cannot_be_is_told() {
    refused("train,val,test\na,b,a\n", None, "slide 'a' is both in train and in test");
    refused(",train,val,test\na,True,True,False\n", None, "slide 'a' is both in train and in validation");
    refused("slide,fold\na,0\n", None, "a column that has train, val or test for each slide; found 'slide', 'fold'");
    refused("val,test\na,b\n", None, "expected columns called train, val and test, once each");
    refused("train,val\nx,y\n", None, "it has 'x', 'y', the folder has 'a', 'b.svs', '7', ..");
    refused("u,v\na,train\n", None, "expected a column of slides called");
}
