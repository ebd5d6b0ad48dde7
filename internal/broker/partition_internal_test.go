package broker

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestQuorum(t *testing.T) {
	heard, silent := &jetstream.PeerInfo{Active: time.Second}, &jetstream.PeerInfo{Active: followerTimeout + time.Second}
	offline := &jetstream.PeerInfo{Active: time.Second, Offline: true}
	for what, test := range map[string]struct {
		cluster *jetstream.ClusterInfo
		want    error
	}{
		"no cluster":                   {nil, nil},
		"a single server":              {&jetstream.ClusterInfo{Leader: "a"}, nil},
		"all are there":                {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{heard, heard}}, nil},
		"one of three is silent":       {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{silent, heard}}, nil},
		"one of three is offline":      {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{heard, offline}}, nil},
		"two of three are out":         {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{silent, offline}}, errNoQuorum},
		"one of two is silent":         {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{silent}}, errNoQuorum},
		"nobody leads":                 {&jetstream.ClusterInfo{Replicas: []*jetstream.PeerInfo{heard, heard, heard}}, errNoQuorum},
		"nobody leads a single server": {&jetstream.ClusterInfo{}, errNoQuorum},
	} {
		if err := checkQuorum(test.cluster); !errors.Is(err, test.want) {
			t.Errorf("%s: got error %v, want %v", what, err, test.want)
		}
	}
}
