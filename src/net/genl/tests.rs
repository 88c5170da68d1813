use super::*;

fn packet(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut message = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

#[test]
fn request_is_laid_out_as_the_kernel_reads_it() {
    let message = request(0x1234, NLM_F_REQUEST, 29, &texts(&[(1, "pci")]));
    assert_eq!(message.len(), 28);
    assert_eq!(u32::from_ne_bytes(message[0..4].try_into().unwrap()), 28);
    assert_eq!(&message[16..20], [29, 1, 0, 0]);
    assert_eq!(&message[24..28], b"pci\0");
}

#[test]
fn runs_of_attributes() {
    let mut run = Vec::new();
    for (kind, value) in [(1u16, &b"pci\0"[..]), (25, &[1, 0]), (0x8000 | 0x91, &[7])] {
        run.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
        run.extend(kind.to_ne_bytes());
        run.extend(value);
        run.resize(run.len().next_multiple_of(4), 0);
    }
    assert_eq!(attribute(&run, 25).and_then(as_u16), Some(u16::from_ne_bytes([1, 0])));
    assert_eq!(attribute(&run, 1).and_then(as_text), Some("pci"));
    assert_eq!(
        attribute(&run, 0x91),
        Some(&[7][..]),
        "the flag NLA_F_NESTED is no part of the type"
    );
    assert_eq!(attribute(&run, 7), None);
    for cut in 0..run.len() {
        let _ = attributes(&run[..cut]).count(); // never a panic
    }
    assert_eq!(attributes(&[0; 64]).count(), 0, "a zero length must not loop");
}

#[test]
fn packets() {
    let mut two = packet(0x20, NLM_F_MULTI, &[3, 1, 0, 0, 8, 0, 1, 0, b'x', 0, 0, 0]);
    two.extend(packet(NLMSG_DONE, NLM_F_MULTI, &(-90i32).to_ne_bytes()));
    let kinds: Vec<Message<'_>> = messages(&two).collect();
    assert!(matches!(
        kinds.as_slice(),
        [
            Message::Data {
                flags: NLM_F_MULTI,
                attributes: [8, 0, 1, 0, b'x', 0, 0, 0]
            },
            Message::Done { code: -90, .. }
        ]
    ));
    for cut in 1..two.len() {
        let last = messages(&two[..cut]).last();
        assert!(cut == 28 || matches!(last, Some(Message::Garbled)), "cut at {cut}");
    }
    let refusal = packet(NLMSG_ERROR, 0, &(-19i32).to_ne_bytes());
    assert!(matches!(
        messages(&refusal).next(),
        Some(Message::Refused(Errno::ENODEV))
    ));
    let worst = packet(NLMSG_ERROR, 0, &i32::MIN.to_ne_bytes());
    assert!(messages(&worst).next().is_some());
    assert_eq!(messages(&[0; 64]).count(), 1, "a zero length must not loop");
    assert_eq!(messages(&[0xff; 64]).count(), 1);
}

/// The dump of these packets, with the attributes' first bytes; what it asks for beyond them is an error.
fn dump(what: &[Vec<u8>]) -> (Result<Once, Error>, Vec<u8>) {
    let read = std::cell::Cell::new(0);
    let receive = |buffer: &mut Vec<u8>| {
        buffer.clear();
        let packet = what.get(read.replace(read.get() + 1));
        buffer.extend(packet.ok_or_else(|| garbled("no more packets"))?);
        Ok(())
    };
    let mut seen = Vec::new();
    let result = dump_once("dump", &mut 0, &mut Vec::new(), receive, |attributes| {
        seen.extend(attributes.first());
        Ok(())
    });
    (result, seen)
}

#[test]
fn dumps() {
    let data = |flags, value| packet(0x20, NLM_F_MULTI | flags, &[3, 1, 0, 0, value]);
    let done = |flags, code: i32| packet(NLMSG_DONE, NLM_F_MULTI | flags, &code.to_ne_bytes());
    let intr = NLM_F_DUMP_INTR;
    // several messages in a packet, several packets
    let (result, seen) = dump(&[[data(0, 1), data(0, 2)].concat(), [data(0, 3), done(0, 0)].concat()]);
    assert!(matches!(result, Ok(Once::Whole)));
    assert_eq!(seen, [1, 2, 3]);
    assert!(matches!(
        dump(&[data(0, 1), data(intr, 2), done(0, 0)]).0,
        Ok(Once::Interrupted)
    ));
    assert!(matches!(dump(&[data(0, 1), done(intr, 0)]).0, Ok(Once::Interrupted)));
    assert!(matches!(
        dump(&[data(0, 1), done(0, -90)]).0,
        Ok(Once::Refused(Errno::EMSGSIZE))
    ));
    let no_device = packet(NLMSG_ERROR, 0, &(-19i32).to_ne_bytes());
    assert!(matches!(dump(&[no_device]).0, Ok(Once::Refused(Errno::ENODEV))));
    // the end is missing, cut short, or never comes
    assert!(dump(&[data(0, 1)]).0.is_err());
    assert!(dump(&[data(0, 1), vec![0; 7]]).0.is_err());
    let endless = dump_once(
        "dump",
        &mut 0,
        &mut Vec::new(),
        |buffer: &mut Vec<u8>| {
            buffer.clear();
            buffer.extend(data(0, 1));
            Ok(())
        },
        |_| Ok(()),
    );
    assert!(matches!(endless, Err(Error::NoAnswer { .. })));
    let one = packet(0x20, 0, &[3, 1, 0, 0, 9]);
    assert!(matches!(dump(&[one]).0, Ok(Once::Whole)), "an answer in one message");
}

#[test]
fn acknowledgements() {
    let header = |length: u32| [&length.to_ne_bytes()[..], &[0; 12]].concat();
    let done = packet(
        NLMSG_ERROR,
        NLM_F_CAPPED,
        &[&0i32.to_ne_bytes()[..], &header(40)].concat(),
    );
    assert_eq!(acknowledgement(&done), Some(Ok(())));
    let mut words = Vec::new();
    put(&mut words, NLMSGERR_ATTR_MSG, b"no\0");
    let refused = |flags: u16, length: u32, request: &[u8]| {
        let body = [&(-22i32).to_ne_bytes()[..], &header(length), request, &words].concat();
        packet(NLMSG_ERROR, flags, &body)
    };
    let hint = |hint: Option<&str>| Some(Err((Errno::EINVAL, hint.map(str::to_owned))));
    let capped = refused(NLM_F_CAPPED | NLM_F_ACK_TLVS, 40, &[]);
    assert_eq!(acknowledgement(&capped), hint(Some("no")));
    assert_eq!(
        acknowledgement(&refused(NLM_F_ACK_TLVS, 24, &[0; 8])),
        hint(Some("no")),
        "the request comes back"
    );
    assert_eq!(acknowledgement(&refused(NLM_F_CAPPED, 40, &[])), hint(None));
    assert_eq!(acknowledgement(&refused(NLM_F_ACK_TLVS, u32::MAX, &[])), hint(None));
    assert_eq!(
        acknowledgement(&packet(0x20, 0, &[0; 8])),
        None,
        "an answer that comes before it"
    );
    for cut in 0..capped.len() {
        let _ = acknowledgement(&capped[..cut]); // never a panic
    }
}
