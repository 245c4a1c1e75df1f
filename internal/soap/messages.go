package soap

import "strings"

// operations are those of IOrganizationService that change nothing. What
// Execute does, its request says.
var operations = words("Retrieve RetrieveMultiple")

// isWrite reports whether name, in whatever case, is an operation that may
// change something. A SOAPAction that names none is for nobody.
func isWrite(name string) bool {
	for _, operation := range [...]string{"Create", "Update", "Delete", "Associate", "Disassociate", "Execute"} {
		if strings.EqualFold(name, operation) {
			return true
		}
	}
	return false
}

// messages are the requests of Execute that change nothing, beside those whose
// name begins with Retrieve. Microsoft alone names messages without a
// publisher's prefix, so no custom one can pass for them. What only prepares a
// write, leaves a trace or hands out a secret is not among them.
var messages = words(`
	WhoAmI ExecuteFetch FetchXmlToQueryExpression QueryExpressionToFetchXml
	QuerySchedule QueryMultipleSchedules ExpandCalendar Rollup InitializeFrom
	CanBeReferenced CanBeReferencing CanManyToMany
	GetValidManyToMany GetValidReferencedEntities GetValidReferencingEntities
	GetAllTimeZonesWithDisplayName GetTimeZoneCodeByLocalizedName GetDefaultPriceLevel
	GetDistinctValuesImportFile GetHeaderColumnsImportFile GetQuantityDecimal GetReportHistoryLimit
	IsComponentCustomizable IsDataEncryptionActive IsValidStateTransition
	LocalTimeFromUtcTime UtcTimeFromLocalTime CalculateTotalTimeIncident
	ValidateRecurrenceRule ValidateSavedQuery FindParentResourceGroup
	InitializeFileBlocksDownload InitializeAttachmentBlocksDownload InitializeAnnotationBlocksDownload DownloadBlock
	searchquery searchsuggest searchautocomplete searchstatus searchstatistics
`)

func words(list string) map[string]bool {
	m := make(map[string]bool)
	for word := range strings.FieldsSeq(list) {
		m[word] = true
	}
	return m
}

func reads(list map[string]bool, name string) bool { return list[name] }
