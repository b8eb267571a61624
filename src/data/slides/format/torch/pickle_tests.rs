use super::*;

#[test]
fn names_and_opcodes_that_no_tensor_needs_are_refused() {
    let refused = |bytes: &[u8]| Pickle::read(bytes, Objects::Refused).unwrap_err();
    // What a malicious file does: os.system('..') when it is loaded.
    assert!(refused(b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.").contains("posix.system"));
    assert!(refused(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.").contains("builtins.eval"));
    // The old way: an instance, with its class in the opcode.
    assert!(refused(b"(ios\nsystem\n.").contains("opcode 0x69"));
    assert!(refused(b"\x80\x02ccollections\nOrderedDict\n)\x81.").contains("opcode 0x81"));
    // A name is called with nothing but what it is for.
    assert_eq!(refused(b"\x80\x02ctorch\nFloatStorage\n)R."), BROKEN);
    for broken in [&b""[..], b"(", b".", b"t", b"a", b"]a", b"h\0", b"X\xff\xff\xff\xff", b"R", b"(0.", b"(."] {
        let _ = refused(broken);
    }
}

#[test]
fn tensors_lie_within_their_storage() {
    let tensor = |offset, shape: &[u64], strides: &[u64]| Tensor {
        storage: Storage { number: Number::F32, key: "0".into(), items: 6 },
        offset,
        shape: shape.into(),
        strides: strides.into(),
    };
    assert!(tensor(0, &[2, 3], &[3, 1]).check().is_ok() && tensor(0, &[2, 3], &[3, 1]).is_contiguous());
    let turned = tensor(0, &[3, 2], &[1, 3]);
    assert!(turned.check().is_ok() && !turned.is_contiguous());
    assert_eq!(turned.places().collect::<Vec<_>>(), [0, 3, 1, 4, 2, 5]);
    assert!(tensor(0, &[0, 3], &[3, 1]).check().is_ok());
    for wrong in [
        tensor(1, &[2, 3], &[3, 1]),
        tensor(0, &[2, 3], &[4, 1]),
        tensor(0, &[1 << 40, 1], &[0, 1]),
        tensor(0, &[u64::MAX, 2], &[1, 1]),
        tensor(u64::MAX, &[2], &[1]),
        tensor(0, &[2, 3], &[3]),
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
}

#[test]
fn objects_are_passed_over_where_that_is_asked_for() {
    let read = |bytes: &[u8]| Pickle::read(bytes, Objects::PassedOver).unwrap();
    // os.system('true') is a name that is never called.
    let pickle = read(b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.");
    assert_eq!((pickle.root(), pickle.objects().next()), (&Value::Object("posix.system".into()), Some("posix.system")));
    // Instances with attributes and items: argparse.Namespace, a Counter, an instance with named arguments.
    for bytes in [
        &b"\x80\x02cargparse\nNamespace\n)\x81}X\x01\0\0\0aK\x01sb."[..],
        b"\x80\x02ccollections\nCounter\n}K\x01K\x02s\x85R.",
        b"\x80\x02cmine\nDict\n)R(K\x01K\x02u.",
        b"\x80\x02cmine\nList\n)RK\x01a.",
        b"\x80\x04\x8c\x04mine\x8c\x01C\x93)}\x92.",
    ] {
        assert!(matches!(read(bytes).root(), Value::Object(_)), "{bytes:?}");
    }
    // A storage of numbers that are not known, and its tensor.
    let unknown = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nComplexFloatStorage\n\
        X\x01\0\0\x000X\x03\0\0\0cpuK\x02tQK\0K\x02\x85K\x01\x85\x89)tR.";
    assert!(matches!(read(unknown).root(), Value::Object(_)));
    // What is broken stays so.
    for broken in [&b""[..], b"(", b"R", b")\x81.", b"]K\x01s.", b"ctorch\nFloatStorage\n)R."] {
        assert!(Pickle::read(broken, Objects::PassedOver).is_err(), "{broken:?}");
    }
}
