package keyname

import "bytes"

// Slots is the number of hash slots of a cluster.
const Slots = 16384

// Slot returns the hash slot of a name in a cluster: CRC16 of its hash tag, modulo 16384.
func Slot(name []byte) uint16 { return crc16(HashTag(name)) % Slots }

// HashTag returns the bytes of a name that are hashed: what stands between the first { and the first } after it,
// if that is not empty, and else the whole name.
func HashTag(name []byte) []byte {
	if tag, ok := usableTag(name); ok {
		return tag
	}
	return name
}

func usableTag(name []byte) ([]byte, bool) {
	open := bytes.IndexByte(name, '{')
	if open < 0 {
		return nil, false
	}
	end := bytes.IndexByte(name[open+1:], '}')
	if end <= 0 {
		return nil, false
	}
	return name[open+1 : open+1+end], true
}

// crc16 is CRC16-CCITT as the cluster uses it (XMODEM: polynomial 0x1021, start 0, nothing reflected).
func crc16(data []byte) uint16 {
	var crc uint16
	for _, b := range data {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^b]
	}
	return crc
}

var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()
