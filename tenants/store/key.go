package store

import (
	"fmt"
	"net/url"

	"github.com/tenloom/tenloom/tenants"
)

// All keys are made here. Names are DNS labels and ids are of letters, digits and "_", so "/" parts them safely; subjects are escaped.
//
//	c/<noun>/...   what is configured; Watch tells changes of these
//	l/<noun>/...   what goes on by itself: audit, operations, uploads and answers
//	x/<noun>/...   index: from an id, digest or hash to where the record is
//	m/...          about the store itself
const (
	configured = "c/"

	keySchema    = "m/schema"
	keyRestoring = "m/restoring"
)

func keyTenant(t tenants.ID) string { return "c/tenant/" + string(t) }
func keyPolicy(t tenants.ID) string { return "c/policy/" + string(t) }
func keyMember(t tenants.ID, subject string) string {
	return "c/member/" + string(t) + "/" + url.PathEscape(subject)
}
func keyToken(t tenants.ID, id tenants.TokenID) string {
	if t == "" {
		t = tenants.Platform
	}
	return "c/token/" + string(t) + "/" + string(id)
}
func keyConnection(t tenants.ID, name string) string { return "c/connection/" + string(t) + "/" + name }
func keyApp(t tenants.ID, a tenants.AppName) string  { return "c/app/" + string(t) + "/" + string(a) }

func of(noun string, t tenants.ID, a tenants.AppName) string {
	return noun + string(t) + "/" + string(a) + "/"
}

func keyVersion(t tenants.ID, a tenants.AppName, number int) string {
	return of("c/version/", t, a) + fmt.Sprintf("%010d", number) // so that keys sort as numbers
}
func keyDeployment(t tenants.ID, a tenants.AppName, id tenants.DeploymentID) string {
	return of("c/deployment/", t, a) + string(id)
}
func keyVariable(t tenants.ID, a tenants.AppName, name string) string {
	return of("c/variable/", t, a) + name
}
func keySecret(t tenants.ID, a tenants.AppName, name string) string {
	return of("c/secret/", t, a) + name
}

func keyOperation(t tenants.ID, id tenants.OperationID) string {
	return "l/operation/" + string(t) + "/" + string(id)
}
func keyAudit(chain tenants.ID, seq uint64) string {
	return "l/audit/" + string(chain) + "/" + fmt.Sprintf("%016d", seq)
}
func keyAuditHead(chain tenants.ID) string { return "l/audithead/" + string(chain) }

func indexMember(subject string, t tenants.ID) string {
	return "x/member/" + url.PathEscape(subject) + "/" + string(t)
}
func indexApp(t tenants.ID, id tenants.AppID) string { return "x/app/" + string(t) + "/" + string(id) }
func indexVersion(t tenants.ID, a tenants.AppName, key tenants.VersionKey) string {
	return of("x/version/", t, a) + string(key)
}
func indexDigest(t tenants.ID, a tenants.AppName, d tenants.VersionID) string {
	return of("x/digest/", t, a) + string(d)
}
func indexToken(h tenants.TokenHash) string        { return "x/token/" + h.String() }
func indexOperation(id tenants.OperationID) string { return "x/operation/" + string(id) }
